"""Hook for the AWS Price List: what an hour of an instance, or of a Fargate task, costs on demand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from include.capacity.errors import InvalidData, NotReady

# The Price List is served from three regions only, for all regions.
# https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
ENDPOINT_REGION = "us-east-1"
ENGINES = {"aurora-mysql": "Aurora MySQL", "aurora-postgresql": "Aurora PostgreSQL"}
_REGION_PREFIX = re.compile(r"([A-Z]{2,4}\d?-)?")  # USE1-, EU-, APN1- …


class PricingHook(ServiceHook):
    """Asks for prices on demand, in the currency of the list (USD; CNY in China).

    `region` is always the region that is paid for; the hook itself calls ENDPOINT_REGION unless it is given another.
    Source: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
    """

    service = "pricing"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"region_name": ENDPOINT_REGION, **kwargs})

    def instance_hour(self, instance_type: str, *, region: str, currency: str = "USD") -> float:
        """An hour of a Linux instance with shared tenancy and without a licence."""
        wanted = {
            "instanceType": instance_type,
            "regionCode": region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        return self._one_price("AmazonEC2", wanted, "", f"an hour of {instance_type} in {region}", currency)

    def fargate_hour(self, *, vcpu: float, memory_gib: float, region: str, currency: str = "USD") -> float:
        """An hour of a Fargate task on Linux and x86."""
        cpu, memory = (
            self._one_price("AmazonECS", {"regionCode": region, **fields}, usage, f"{what} in {region}", currency)
            for fields, usage, what in (
                ({"cputype": "perCPU", "tenancy": "Shared"}, "Fargate-vCPU-Hours:perCPU", "a vCPU hour of Fargate"),
                ({"memorytype": "perGB", "tenancy": "Shared"}, "Fargate-GB-Hours", "a GB hour of Fargate"),
            )
        )
        return vcpu * cpu + memory_gib * memory

    def aurora_hour(self, instance_class: str, *, engine: str, region: str, currency: str = "USD") -> float:
        """An hour of an Aurora instance with standard storage; `engine` is that of the cluster, such as aurora-mysql.

        Raises NotReady for an engine that is not Aurora's.
        """
        if engine not in ENGINES:
            raise NotReady(f"{engine!r} is no engine of Aurora; the Price List is asked for {', '.join(ENGINES)} only.")
        wanted = {"instanceType": instance_class, "regionCode": region, "databaseEngine": ENGINES[engine]}
        usage = f"InstanceUsage:{instance_class}"
        return self._one_price("AmazonRDS", wanted, usage, f"an hour of {instance_class} in {region}", currency)

    @told
    def products(self, service_code: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """The products that match all fields, as the list describes them."""
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fields.items()]
        pages = self.conn.get_paginator("get_products").paginate(
            ServiceCode=service_code, Filters=filters, FormatVersion="aws_v1"
        )
        return [_parsed(product, service_code) for page in pages for product in page["PriceList"]]

    def _one_price(self, service_code: str, fields: Mapping[str, str], usage: str, what: str, currency: str) -> float:
        """The one price above zero. Raises NotReady when the list has none, or several.

        `usage` is the end of the usage type, which the list cannot be filtered by: a region's prefix comes before it,
        as in USE1-Fargate-GB-Hours. Any type if empty.
        """
        prices = sorted(
            {
                price
                for product in self.products(service_code, fields)
                if _is_usage(product, usage)
                for price in _on_demand(product, currency)
                if price > 0
            }
        )
        if len(prices) != 1:
            found = f"{len(prices)} prices ({', '.join(f'{price:g}' for price in prices)})" if prices else "no price"
            raise NotReady(
                f"The Price List has {found} in {currency} for {what}. Check the name and the region, or write the "
                "price below prices of the service profile."
            )
        return prices[0]


def _is_usage(product: Mapping[str, Any], usage: str) -> bool:
    """Whether the product's usage type is this one, with or without a region's prefix (so ARM, Windows are others)."""
    found = str(product.get("product", {}).get("attributes", {}).get("usagetype", ""))
    prefix = found.removesuffix(usage)
    return not usage or (prefix != found and _REGION_PREFIX.fullmatch(prefix) is not None)


def _parsed(product: str, service_code: str) -> dict[str, Any]:
    """The list holds JSON as text."""
    try:
        return dict(json.loads(product))
    except (TypeError, ValueError) as error:
        raise InvalidData(f"The Price List of {service_code} holds a product that is no JSON: {error}.") from error


def _on_demand(product: Mapping[str, Any], currency: str) -> Iterator[float]:
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            if currency in dimension.get("pricePerUnit", {}):
                yield float(dimension["pricePerUnit"][currency])
