"""The program inside the load container: `python -m include.loadgen`. docs/load-fleet.md explains how it works."""
