"""The local stack: the sandbox and Airflow, started, watched and ended together (`python -m tools.stack`)."""
