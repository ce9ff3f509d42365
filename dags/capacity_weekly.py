"""
### What
Finds the maximum rate (transactions per second) at which the service meets its SLO: brings its environment to the test
size, steers JMeter containers with an open load model, searches the maximum, confirms it by a soak, restores the
environment, checks the data, compares the answer with the last accepted run and publishes it.

### When to run
By itself on the profile's schedule. By hand before a change that may cost capacity; *Trigger* opens a form in which
every field may stay empty. It loads the environment up to its limit for minutes: not while others depend on it.

### Params
Each Param replaces one value of the service profile for this run only; empty keeps the profile's. The form names units
and limits. A run with other Params is not compared with runs of the profile's own.

### Cost
The instances at test size and one container per shard for the length of the run, usually below ten minutes; the
result states the amount. Shards end themselves when nobody commands them, so nothing runs on.

### If it fails
To stop a run, mark the running task as failed, or `python -m include.pipeline.stop <service> <run id> --reason …`.
The run is red unless every step succeeded, the environment is as before and the answer is valid. `conclude` names the
first bad step; its log says what to do. Slow but fine: `load_fleet` runs as long as the load; `search` takes minutes.
*inconclusive* means that the load generators or the machine were disturbed: run it again on a quiet machine or with
more shards. Whatever happened, `restore` has run; if it failed, its log shows which setting differs, and
`python -m include.pipeline.restore <service> <run id>` repeats it by hand.

### Owner
The owner of the service profile, shown beside the DAG.
"""

from include.capacity.profile import load_profile
from include.pipeline.builder import build_run
from include.pipeline.installation import REPOSITORY, SERVICES

# Airflow reads only DAG files that hold the words "dag" and "airflow" (core.dag_discovery_safe_mode): here they are.
for path in sorted(SERVICES.glob("*.yaml")):
    profile = load_profile(path)
    page = f"# Weekly capacity run of {profile.service}\n\n{profile.description}\n{__doc__}"
    weekly = build_run(profile, str(path.relative_to(REPOSITORY)), "weekly", page)
    globals()[weekly.dag_id] = weekly
