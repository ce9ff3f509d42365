"""
# Leftover sweeper

Restores or reports what lost capacity runs have left behind.

### What
Looks for journals that were not restored, leases of runs that are lost, load containers and instances of runs that are
over, and for suspended scaling and silent alarms that no journal accounts for. A run lives as long as its tasks renew
its lease in the artefact store; a living run is never touched.

### When to run
By itself, every hour. By hand after a lost worker or scheduler, if you do not want to wait.

### Params
*Policy*: `restore` ends load containers of runs that are over and restores from their journals, `report` changes
nothing. Empty takes the Variable `headroom_sweeper_policy`, and `restore` without one. What somebody else has changed
is always left and shown. *Look into every run's folder* finds journals whose mark was lost as well.

### Cost
A few calls of AWS for each service profile.

### If it fails
The run is red when something is left that a person must do: the log of `sweep` lists it, each with the command. A
restore that failed is tried again in an hour. `python -m include.pipeline.sweep` does the same from a shell.

### Owner
Whoever runs this Airflow.
"""

from include.pipeline.sweeper_builder import build_sweeper

# Airflow reads only DAG files that hold the words "dag" and "airflow": here they are.
sweeper = build_sweeper(__doc__ or "")
