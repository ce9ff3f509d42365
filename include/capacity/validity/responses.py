"""Is it still the service that answers, as it did in the smoke probe? An error page with status 200, a login page
behind a redirect, or a cache in front meets every SLO.

What tells is the size of the responses, label by label. The smoke probe gives the usual range; a response far outside
of it is odd. Under load a few may be (a longer list, another product); when the share of odd ones is larger than the
limit and than chance explains, something else answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.capacity.errors import InvalidData
from include.capacity.histogram import Histogram, bucket_bounds, bucket_value
from include.capacity.models import FleetSecond, ValidityLimits

FEWEST_USUAL = 20  # good responses of a label in the smoke probe; fewer tell no range
FEWEST_ODD = 5
RANGE_SLACK = 0.25  # beyond the usual range by this share is not odd yet
HEADER_BYTES = 256  # a cookie or a header more makes no other response
LESS_HEADER_BYTES = 32
# Of n draws from any distribution the next ones lie outside of their range in a share above c/n with probability
# (1 + c) e^-c at most: 8e-5 for 12.
CHANCE = 12.0


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Bytes received by the good responses of a label: how many there were, the smallest and the largest."""

    count: int
    low: int
    high: int


def usual_sizes(sizes: Mapping[str, Histogram]) -> dict[str, SizeRange]:
    """Label -> range of its sizes in bytes."""
    return {label: _range(found) for label, found in sorted(sizes.items()) if found.total}


def _range(sizes: Histogram) -> SizeRange:
    filled = [bucket for bucket, count in sizes.counts.items() if count]
    return SizeRange(sizes.total, bucket_bounds(min(filled))[0], bucket_bounds(max(filled))[1] - 1)


def response_problems(
    seconds: Sequence[FleetSecond], usual: Mapping[str, SizeRange], limits: ValidityLimits
) -> list[str]:
    """Labels whose good responses are unlike those of the smoke probe."""
    problems = []
    merged: dict[str, Histogram] = {}
    for second in seconds:
        for label, sizes in second.sizes.items():
            merged.setdefault(label, Histogram()).merge(sizes)
    for label, sizes in sorted(merged.items()):
        known = usual.get(label)
        if known is None or known.count < FEWEST_USUAL:
            continue
        low, high = expected_range(known)
        odd = {bucket: count for bucket, count in sizes.counts.items() if not low <= bucket_value(bucket) <= high}
        count, total = sum(odd.values()), sizes.total
        allowed = max(limits.max_odd_sizes_ratio, CHANCE / known.count)
        if count < FEWEST_ODD or count <= allowed * total:
            continue
        most = max(odd, key=lambda bucket: odd[bucket])
        problems.append(
            f"{count} of {total} good responses of {label} have another size than in the smoke probe, such as "
            f"{bucket_value(most):.0f} bytes instead of {known.low} to {known.high} (limit {allowed:.0%}): something "
            "else may be answering, such as an error page with status 200, a login page or a cache. Look at such a "
            "response and let an assertion of the plan tell it from a good one; if the service may answer so, raise "
            "validity.max_odd_sizes."
        )
    return problems


def expected_range(usual: SizeRange) -> tuple[float, float]:
    """Sizes within it are usual ones."""
    return (
        max((1 - RANGE_SLACK) * usual.low - LESS_HEADER_BYTES, 0.0),
        (1 + RANGE_SLACK) * usual.high + HEADER_BYTES,
    )


def sizes_to_json(usual: Mapping[str, SizeRange]) -> dict[str, list[int]]:
    return {label: [sizes.count, sizes.low, sizes.high] for label, sizes in sorted(usual.items())}


def sizes_from_json(raw: Mapping[str, Any]) -> dict[str, SizeRange]:
    """Raises InvalidData when it is not what `sizes_to_json` gives."""
    try:
        found = {str(label): SizeRange(*(int(value) for value in values)) for label, values in raw.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidData(f"not a table of response sizes: {error!r}.") from None
    if any(sizes.count < 0 or not 0 <= sizes.low <= sizes.high or math.isinf(sizes.high) for sizes in found.values()):
        raise InvalidData(f"not a table of response sizes: {raw!r}.")
    return found
