"""The demonstration: one weekly run from start to answer, on this machine (`python -m tools.demo`)."""
