"""Property tests: the same examples in each run, and no time limit for one, since a busy machine is no fault."""

from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")
