"""`python -m tools.iam POLICY PROFILE`: fills in a policy of docs/iam for one service and prints it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from include.capacity.errors import HeadroomError
from include.capacity.profile import parse_profile
from tools.errors import ToolError
from tools.iam.policies import FLEET_ROLES, NAMES, document, filled, values_of


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 printed, 2 wrong input."""
    parser = argparse.ArgumentParser(prog="python -m tools.iam", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("policy", choices=NAMES)
    parser.add_argument("profile", type=Path, help="such as include/services/checkout.yaml")
    parser.add_argument("--artefacts", default="", help="the artefact store if it is on S3: s3://bucket/prefix")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE,…",
        help="a placeholder of the policy, such as aurora_clusters=shop; the roles of the fleet's task definition are "
        f"fleet_roles={','.join(FLEET_ROLES)}",
    )
    arguments = parser.parse_args(argv)
    try:
        profile = parse_profile(arguments.profile.read_text(encoding="utf-8"), str(arguments.profile))
        more = {name: values.split(",") for name, _, values in (item.partition("=") for item in arguments.set)}
        values = values_of(profile, arguments.artefacts, more)
        print(json.dumps(filled(document(arguments.policy), values), indent=4))
    except (HeadroomError, ToolError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
