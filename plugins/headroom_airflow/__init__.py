"""Airflow-facing library of Headroom: hooks, operators and triggers in the manner of the amazon provider."""
