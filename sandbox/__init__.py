"""The sandbox: an AWS on one machine, with a service behind it whose capacity is known.

Nothing in dags/, plugins/ or include/ imports this package, and this package imports nothing of theirs: what it says
about the true capacity of a service must not rest on the code that is being checked.
"""
