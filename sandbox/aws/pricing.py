"""The Price List: GetProducts, DescribeServices and GetAttributeValues over the prices in sandbox/prices.yaml.

moto has no such service, so requests that were signed for it are answered here. Products have the form of AWS's own
list, with the relatives that a question has to tell apart: ARM, Windows, I/O-optimised storage, reserved capacity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PRICES_FILE = Path(__file__).resolve().parents[1] / "prices.yaml"
DEFAULT_PAGE = 100
WINDOWS_FACTOR = 1.85  # only has to differ
ENGINES = ("Aurora MySQL", "Aurora PostgreSQL")
SHARED = {"tenancy": "Shared"}


class PricingError(Exception):
    """An error of the service: `code` is AWS's name for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer(action: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """HTTP status and JSON of one request."""
    actions = {
        "GetProducts": _get_products,
        "DescribeServices": _describe_services,
        "GetAttributeValues": _get_attribute_values,
    }
    try:
        if action not in actions:
            raise PricingError("NotImplemented", f"the sandbox does not have the action pricing:{action}")
        return 200, actions[action](json.loads(body or b"{}"))
    except PricingError as error:
        return 501 if error.code == "NotImplemented" else 400, {"__type": error.code, "message": str(error)}


def _get_products(request: dict[str, Any]) -> dict[str, Any]:
    code = request.get("ServiceCode", "")
    found = [product for product in _products(code) if _matches(product, request.get("Filters") or [])]
    page, token = _page(found, request)
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in page], **token}


def _describe_services(request: dict[str, Any]) -> dict[str, Any]:
    codes = [request["ServiceCode"]] if request.get("ServiceCode") else sorted(_catalogue())
    services = [
        {
            "ServiceCode": code,
            "AttributeNames": sorted(
                {name for product in _products(code) for name in product["product"]["attributes"]}
            ),
        }
        for code in codes
    ]
    page, token = _page(services, request)
    return {"FormatVersion": "aws_v1", "Services": page, **token}


def _get_attribute_values(request: dict[str, Any]) -> dict[str, Any]:
    name = request.get("AttributeName", "")
    values = {product["product"]["attributes"].get(name) for product in _products(request.get("ServiceCode", ""))}
    page, token = _page([{"Value": value} for value in sorted(value for value in values if value)], request)
    return {"AttributeValues": page, **token}


def _page(items: list[Any], request: dict[str, Any]) -> tuple[list[Any], dict[str, str]]:
    first = int(request.get("NextToken") or 0)
    last = first + int(request.get("MaxResults") or DEFAULT_PAGE)
    return items[first:last], {"NextToken": str(last)} if last < len(items) else {}


def _matches(product: dict[str, Any], filters: list[dict[str, str]]) -> bool:
    attributes = {**product["product"]["attributes"], "productFamily": product["product"]["productFamily"]}
    for wanted in filters:
        if wanted["Type"] != "TERM_MATCH":
            raise PricingError("NotImplemented", f"the sandbox does not have filters of the type {wanted['Type']}")
        if attributes.get(wanted["Field"]) != wanted["Value"]:
            return False
    return True


def _products(code: str) -> list[dict[str, Any]]:
    try:
        return _catalogue()[code]
    except KeyError:
        raise PricingError("InvalidParameterException", f"The service code {code!r} is not known.") from None


@cache
def _catalogue() -> dict[str, list[dict[str, Any]]]:
    """Service code -> products."""
    prices: dict[str, Any] = yaml.safe_load(PRICES_FILE.read_text(encoding="utf-8"))
    found: dict[str, list[dict[str, Any]]] = {"AmazonEC2": [], "AmazonECS": [], "AmazonRDS": []}
    for region, entry in prices.items():
        common = {"regionCode": region, "locationType": "AWS Region"}
        found["AmazonEC2"] += _instances(entry, common)
        found["AmazonECS"] += _fargate(entry, common)
        found["AmazonRDS"] += _aurora(entry, common)
    return found


def _instances(entry: dict[str, Any], common: dict[str, str]) -> Iterator[dict[str, Any]]:
    for kind, price in entry["instances"].items():
        base = {
            **common,
            "instanceType": kind,
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "licenseModel": "No License required",
        }
        for system, capacity, usage, hour in (
            ("Linux", "Used", "BoxUsage", price),
            ("Windows", "Used", "BoxUsage", price * WINDOWS_FACTOR),
            ("Linux", "UnusedCapacityReservation", "UnusedBox", price),
            ("Linux", "AllocatedCapacityReservation", "Reservation", 0.0),
        ):
            attributes = {"operatingSystem": system, "capacitystatus": capacity}
            usage_type = {"usagetype": f"{entry['prefix']}{usage}:{kind}"}
            yield _product("Compute Instance", {**base, **attributes, **usage_type}, hour, "Hrs")


def _fargate(entry: dict[str, Any], common: dict[str, str]) -> Iterator[dict[str, Any]]:
    prices = entry["fargate"]
    for attributes, usage, price in (
        ({"cputype": "perCPU"}, "Fargate-vCPU-Hours:perCPU", prices["vcpu"]),
        ({"memorytype": "perGB"}, "Fargate-GB-Hours", prices["gib"]),
        ({"cputype": "perCPU"}, "Fargate-ARM-vCPU-Hours:perCPU", prices["arm_vcpu"]),
        ({"memorytype": "perGB"}, "Fargate-ARM-GB-Hours", prices["arm_gib"]),
        ({"cputype": "perCPU"}, "Fargate-Windows-vCPU-Hours:perCPU", prices["vcpu"] * WINDOWS_FACTOR),
    ):
        usage_type = {"usagetype": f"{entry['fargate_prefix']}{usage}"}
        yield _product("Compute", {**common, **SHARED, **attributes, **usage_type}, price, "hours")


def _aurora(entry: dict[str, Any], common: dict[str, str]) -> Iterator[dict[str, Any]]:
    for kind, price in entry["aurora"].items():
        for engine in ENGINES:
            attributes = {**common, "instanceType": kind, "databaseEngine": engine, "deploymentOption": "Single-AZ"}
            for usage, hour in (("InstanceUsage", price), ("InstanceUsageIOOptimized", price * 1.3)):
                usage_type = {"usagetype": f"{entry['prefix']}{usage}:{kind}"}
                yield _product("Database Instance", {**attributes, **usage_type}, hour, "Hrs")


def _product(family: str, attributes: dict[str, str], price: float, unit: str) -> dict[str, Any]:
    """One entry of the list in the format aws_v1."""
    sku = hashlib.sha256(json.dumps([family, attributes], sort_keys=True).encode()).hexdigest()[:16].upper()
    dimension = {
        "unit": unit,
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"${price:.10f} per {attributes['usagetype']}",
        "pricePerUnit": {"USD": f"{price:.10f}"},
    }
    terms = {"OnDemand": {f"{sku}.T": {"sku": sku, "priceDimensions": {f"{sku}.T.D": dimension}}}}
    return {"product": {"sku": sku, "productFamily": family, "attributes": attributes}, "terms": terms}
