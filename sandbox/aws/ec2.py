"""EC2: private addresses whose loopback twins are free, because several sandboxes may share one machine."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from moto.ec2.models.subnets import Subnet

RESERVED_FIRST = 4  # AWS keeps the first four addresses of a subnet and the last one
ATTEMPTS = 200


def install(is_free: Callable[[str], bool]) -> None:
    """Draw private addresses at random; `is_free` says whether the plant can use one. moto counts upwards."""
    draw = random.SystemRandom()

    def get_available_subnet_ip(self: Subnet, instance: Any) -> str:
        last = self.cidr.num_addresses - 2
        for _ in range(ATTEMPTS):
            address = str(self.cidr[draw.randint(RESERVED_FIRST, last)])
            if address not in self._subnet_ips and is_free(address):
                self._subnet_ips[address] = instance
                return address
        raise RuntimeError(f"no usable address is left in subnet {self.id}")

    Subnet.get_available_subnet_ip = get_available_subnet_ip  # type: ignore[method-assign]
