"""Triggers: the waits of the hooks, in the triggerer."""
