"""JSON objects of the artefact store that a person may have to mend or delete."""

from __future__ import annotations

import json
from typing import Any

from include.capacity.errors import InvalidData


def mapping_in(data: bytes, path: str, cure: str) -> dict[str, Any]:
    """The mapping in an object. Raises InvalidData with the object's address and what to do when it holds none."""
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError) as error:
        raise InvalidData(f"{path} is not readable: {error}. {cure}") from None
