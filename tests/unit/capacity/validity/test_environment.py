"""What counts as a change of the environment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.capacity.validity.checks import Surroundings
from include.capacity.validity.environment import EnvironmentState, changes
from tests.unit.capacity.examples import judged, seconds

BEFORE = EnvironmentState(
    figures={"in_service": 2.0, "healthy": 2.0},
    instances={"i-1": "t3.medium, a, web version 3", "i-2": "t3.medium, b, web version 3"},
    settings={"The desired number of instances": "2"},
)


def test_the_same_environment() -> None:
    assert changes(BEFORE, BEFORE) == ()
    assert changes(BEFORE, replace(BEFORE, figures={"in_service": 2.0, "healthy": 1.0})) == ()  # the service's doing
    assert changes(None, BEFORE) == changes(BEFORE, None) == ()


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"instances": {"i-1": BEFORE.instances["i-1"]}}, "2 became 1; gone: i-2."),
        ({"instances": {**BEFORE.instances, "i-3": "x"}}, "2 became 3; new: i-3."),
        (
            {"instances": {"i-1": BEFORE.instances["i-1"], "i-9": "t3.medium, b, web version 3"}},
            "2 became 2; gone: i-2; new: i-9.",
        ),
        (
            {"instances": {**BEFORE.instances, "i-2": "t3.medium, b, web version 4"}},
            "i-2 changed under the step: t3.medium, b, web version 3 became t3.medium, b, web version 4",
        ),
        ({"settings": {"The desired number of instances": "3"}}, "The desired number of instances changed"),
        ({"settings": {}}, "2 became nothing"),
    ],
)
def test_changes(after: dict[str, dict[str, str]], words: str) -> None:
    (sentence,) = changes(BEFORE, replace(BEFORE, **after))  # type: ignore[arg-type]
    assert words in sentence
    assert "Keep deployments, scaling and maintenance away" in sentence
    result = judged(seconds(13), surroundings=Surroundings(changes=(sentence,)))
    assert (result.validity.status, result.validity.reasons, result.changes) == ("invalid", (sentence,), (sentence,))
