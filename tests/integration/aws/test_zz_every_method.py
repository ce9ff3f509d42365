"""The last of this folder: the tests before it have called every public method of every hook."""

from __future__ import annotations

import pytest

from tests.integration.aws.conftest import FOLDER, hook_classes, public_methods

pytestmark = pytest.mark.system


def test_every_public_method_of_every_hook_has_run(
    request: pytest.FixtureRequest, called: set[tuple[str, str]]
) -> None:
    collected = {item.path for item in request.session.items}
    if not set(FOLDER.glob("test_*.py")) <= collected:
        pytest.skip("says something only after all tests of its folder")
    missing = {
        (kind.__name__, name)
        for kind in hook_classes()
        for name in public_methods(kind) & set(vars(kind))
        if (kind.__name__, name) not in called
    }
    assert missing == set()
