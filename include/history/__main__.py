"""Shows the history, and records a person's decision about a run.

`python -m include.history list SERVICE`
`python -m include.history accept SERVICE RUN_ID --by NAME --because REASON` (or `reject`)

The history is that of the environment variable HEADROOM_HISTORY, or of `--history URL`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from include.capacity.errors import HeadroomError
from include.history.store import HistoryRun, HistoryStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 2 after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m include.history", description="The history of capacity runs.")
    parser.add_argument("--history", default=os.environ.get("HEADROOM_HISTORY"), metavar="URL", help="SQLAlchemy URL")
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser("list", help="the newest runs of a service")
    listing.add_argument("service")
    listing.add_argument("--limit", type=int, default=20)
    for verb in ("accept", "reject"):
        deciding = verbs.add_parser(verb, help=f"{verb} a run as the level that later runs are compared with")
        deciding.add_argument("service")
        deciding.add_argument("run_id")
        deciding.add_argument("--by", required=True, help="who decides")
        deciding.add_argument("--because", required=True, help="why")
    options = parser.parse_args(arguments)
    if not options.history:
        parser.error("name the history with --history or HEADROOM_HISTORY, such as sqlite:////var/lib/headroom.db")
    try:
        store = HistoryStore(options.history)
        store.migrate()
        if options.verb == "list":
            for run in store.runs(options.service, options.limit):
                print(_line(run))
        else:
            accepted, now = options.verb == "accept", datetime.now(UTC)
            store.decide(
                options.service, options.run_id, accepted=accepted, by=options.by, because=options.because, at=now
            )
            print(f"{options.run_id} is {options.verb}ed.")
    except HeadroomError as error:
        print(f"history: {error}", file=sys.stderr)
        return 2
    return 0


def _line(run: HistoryRun) -> str:
    level = "unknown" if run.tps is None else f"{run.tps:.1f} TPS"
    state = "accepted" if run.accepted else "not accepted"
    decided = f" by {run.decided_by}: {run.decided_because}" if run.decided_by else ""
    return (
        f"{run.ended_at[:16]}  {run.run_id}  {level}  {run.validity}  {run.verdict or 'not compared'}  {state}{decided}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
