"""The prices of a service from the AWS Price List: `python -m include.pipeline.price_list SERVICE`.

Prints the section `prices` for the service profile, which is the price file of a run: reviewed, versioned, the same for
a run and its repetition, and there without a connection to the Price List.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from typing import Any

import airflow  # noqa: F401  its start puts the plugins folder on the path
import yaml

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from headroom_airflow.hooks.load_fleet import LoadFleetHook
from headroom_airflow.hooks.pricing import PricingHook
from include.capacity.errors import HeadroomError, NotReady
from include.capacity.profile import Prices, ServiceProfile, load_profile
from include.pipeline.installation import SERVICES

log = logging.getLogger(__name__)


class ListedPrices:
    """What AWS asks on demand, today, for the instances and the load containers that the service has."""

    def prices(self, profile: ServiceProfile) -> Prices:
        """Raises NotReady when group, task definition or price cannot be found, or when the shards run on instances of
        their cluster, which have no price of their own."""
        aws, fleet, currency = profile.aws, profile.load.fleet, profile.prices.currency
        here: dict[str, Any] = {"aws_conn_id": aws.connection, "region_name": aws.region}
        if fleet.launch_type != "FARGATE":
            raise NotReady(
                "The load containers run on instances of their cluster (load.fleet.launch_type is EC2); the Price List "
                "has no price for them. Write prices.shard_hour of the service profile by hand."
            )
        group = AutoScalingHook(**here).group(aws.autoscaling_group)
        kinds = sorted({entry["InstanceType"] for entry in group["Instances"]})
        if not kinds:
            raise NotReady(
                f"{aws.autoscaling_group} has no instance now, so that its type is not known. Ask when it has one."
            )
        listed = PricingHook(aws_conn_id=aws.connection)
        hours = {kind: listed.instance_hour(kind, region=aws.region, currency=currency) for kind in kinds}
        if len(hours) > 1:
            log.warning("The group has instances of several types; the dearest counts: %s", hours)
        vcpu, memory_gib = LoadFleetHook(**here).task_size(fleet.task_definition)
        shard = listed.fargate_hour(vcpu=vcpu, memory_gib=memory_gib, region=aws.region, currency=currency)
        return Prices(currency=currency, instance_hour=max(hours.values()), shard_hour=round(shard, 6))


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 printed, 1 AWS does not tell, 2 wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.price_list",
        description="Prints the section `prices` for a service profile, from the AWS Price List.",
        epilog="Exit status: 0 printed; 1 AWS does not tell; 2 wrong input.",
    )
    parser.add_argument("service", help="name of the service profile, such as checkout")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Airflow tells there which credentials it found
            found = ListedPrices().prices(load_profile(SERVICES / f"{arguments.service}.yaml"))
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1
    except HeadroomError as error:
        print(error, file=sys.stderr)
        return 2
    print(yaml.safe_dump({"prices": found.model_dump()}, sort_keys=False), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
