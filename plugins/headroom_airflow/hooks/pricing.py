"""Hook for the AWS Price List: what an hour of an instance, or of a Fargate task, costs on demand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from include.capacity.errors import InvalidData, NotReady

# The Price List is served from three regions only, for all regions.
# https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
ENDPOINT_REGION = "us-east-1"


class PricingHook(ServiceHook):
    """Asks for prices on demand, in the currency of the list (USD; CNY in China).

    `region` is always the region that is paid for; the hook itself calls ENDPOINT_REGION unless it is given another.
    Source: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
    """

    service = "pricing"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"region_name": ENDPOINT_REGION, **kwargs})

    def instance_hour(self, instance_type: str, *, region: str, currency: str = "USD") -> float:
        """An hour of a Linux instance with shared tenancy and no licence."""
        wanted = {
            "instanceType": instance_type,
            "regionCode": region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        return self._one_price("AmazonEC2", wanted, f"an hour of {instance_type} in {region}", currency)

    def fargate_hour(self, *, vcpu: float, memory_gib: float, region: str, currency: str = "USD") -> float:
        """An hour of a Fargate task on Linux and x86."""
        hours = [
            (vcpu, "perCPU", "a vCPU hour of Fargate"),
            (memory_gib, "perGB", "a GB hour of Fargate"),
        ]
        return sum(
            amount * self._one_price("AmazonECS", _fargate(region, resource), f"{told_as} in {region}", currency)
            for amount, resource, told_as in hours
        )

    def aurora_hour(self, instance_class: str, *, engine: str, region: str, currency: str = "USD") -> float:
        """An hour of an Aurora instance; `engine` is the list's word: "Aurora MySQL" or "Aurora PostgreSQL"."""
        wanted = {"instanceType": instance_class, "regionCode": region, "databaseEngine": engine, "storage": "EBS Only"}
        return self._one_price("AmazonRDS", wanted, f"an hour of {instance_class} ({engine}) in {region}", currency)

    @told
    def products(self, service_code: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """The products that match all fields, as the list describes them."""
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fields.items()]
        pages = self.conn.get_paginator("get_products").paginate(
            ServiceCode=service_code, Filters=filters, FormatVersion="aws_v1"
        )
        return [_parsed(product, service_code) for page in pages for product in page["PriceList"]]

    def _one_price(self, service_code: str, fields: Mapping[str, str], told_as: str, currency: str) -> float:
        """The price of the one product that is not free. Raises NotReady when the list has none, or several."""
        prices = sorted(
            {
                price
                for product in self.products(service_code, fields)
                for price in _on_demand(product, currency)
                if price > 0
            }
        )
        if len(prices) != 1:
            found = f"{len(prices)} prices ({', '.join(f'{price:g}' for price in prices)})" if prices else "no price"
            raise NotReady(
                f"The Price List has {found} in {currency} for {told_as}. Check the name and the region, or write the "
                "price below prices of the service profile."
            )
        return prices[0]


def _fargate(region: str, resource: str) -> dict[str, str]:
    return {"regionCode": region, "productFamily": "Compute", "cputype": resource, "operatingSystem": "Linux"}


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
