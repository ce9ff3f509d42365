"""docs/service-profile.md explains every key, and no other; its examples are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from include.capacity.profile import ServiceProfile, load_profile, with_overrides

ROOT = Path(__file__).parents[4]
TEXT = (ROOT / "docs" / "service-profile.md").read_text()


def models(model: type[BaseModel], path: str = "Top level") -> dict[str, type[BaseModel]]:
    """Heading in the document -> model."""
    found = {path: model}
    for name, info in model.model_fields.items():
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                key = info.alias or name
                found |= models(kind, key if path == "Top level" else f"{path}.{key}")
    return found


def rows(heading: str) -> dict[str, list[str]]:
    """Key -> cells of its row in the section under a heading."""
    section = re.search(rf"^## `?{re.escape(heading)}`?\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert section is not None, f"docs/service-profile.md has no section {heading}"
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section[1].splitlines() if line[:3] == "| `"
    ]
    return {row[0].strip("`"): row for row in cells}


MODELS = models(ServiceProfile)
KEYS = [(heading, info.alias or name) for heading, model in MODELS.items() for name, info in model.model_fields.items()]


def test_all_sections_are_found() -> None:
    assert set(MODELS) == {
        "Top level", "aws", "target", "slo", "load", "load.fleet", "prescale", "prescale.ecs_services", "search",
        "guard", "guard.allow", "validity", "prices", "budget", "blackouts",
    }  # fmt: skip


@pytest.mark.parametrize("heading", MODELS)
def test_every_key_is_explained_and_no_other(heading: str) -> None:
    keys = {info.alias or name for name, info in MODELS[heading].model_fields.items()}
    assert set(rows(heading)) == keys


@pytest.mark.parametrize(("heading", "key"), KEYS)
def test_requirement_and_default_are_told_right(heading: str, key: str) -> None:
    model = MODELS[heading]
    name, info = next((name, info) for name, info in model.model_fields.items() if (info.alias or name) == key)
    told = rows(heading)[key][2]
    assert (told == "required") == (info.default is PydanticUndefined)
    if told.startswith("`"):
        value = yaml.safe_load(told.strip("`"))
        assert _value(model, name, value) == info.default


@pytest.mark.parametrize(("heading", "key"), KEYS)
def test_examples_are_accepted(heading: str, key: str) -> None:
    model = MODELS[heading]
    name = next(name for name, info in model.model_fields.items() if (info.alias or name) == key)
    if example := rows(heading)[key][4]:
        _value(model, name, yaml.safe_load(example.strip("`")))


def _value(model: type[BaseModel], name: str, value: object) -> Any:
    """A value as a field of the model takes it."""
    info = model.model_fields[name]
    kind: Any = info.annotation
    for part in info.metadata:
        kind = Annotated[kind, part]
    return TypeAdapter(kind).validate_python(value)


def test_every_param_is_explained() -> None:
    section = TEXT[TEXT.index("## Params") :]
    told = set(
        re.findall(r"`([a-z_]+)`", "\n".join(line.split("|")[1] for line in section.splitlines() if line[:3] == "| `"))
    )
    profile = load_profile(ROOT / "include" / "services" / "checkout.yaml")
    assert with_overrides(profile, dict.fromkeys(told)) == profile
    with pytest.raises(Exception, match="Known: " + ", ".join(sorted(told)) + r"\."):
        with_overrides(profile, {"nothing": 1})
