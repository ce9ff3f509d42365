"""The guard rails of a whole installation: a file of those who answer for the environments, above every profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from include.capacity.errors import ConfigError
from include.capacity.guard.allow import AllowList
from include.capacity.profile_errors import first_mistake
from include.capacity.profile_types import Networks, Seconds, Section, Text, Texts, Tps


class InstallationRails(Section):
    """Every key but `schema` may be left out; what is left out allows everything."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    accounts: Texts | None = None
    regions: Texts | None = None
    resources: Texts | None = None
    tags: dict[str, Text] = Field(default={})
    hosts: Texts | None = None
    addresses: Networks = ()
    max_rate_tps: Annotated[Tps | None, Field(alias="max_rate")] = None
    max_duration_s: Annotated[Seconds | None, Field(alias="max_duration")] = None

    def allow_list(self, source: str) -> AllowList:
        return AllowList(
            source,
            "",
            self.accounts or (),
            self.regions or (),
            self.resources or (),
            self.tags,
            self.hosts or (),
            self.addresses,
            self.max_rate_tps,
            self.max_duration_s,
        )


def load_rails(path: Path) -> AllowList:
    """Reads the file. Raises ConfigError with key and cure; a file that is named and missing is a mistake, too."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        cure = "HEADROOM_GUARD_RAILS must name a readable YAML file on every machine that runs tasks."
        raise ConfigError(str(path), "", f"cannot be read: {error}.", cure) from None
    if not isinstance(raw, dict):
        raise ConfigError(str(path), "", "holds no mapping.", "See docs/guard-rails.md.")
    try:
        return InstallationRails.model_validate(raw).allow_list(str(path))
    except ValidationError as error:
        key, problem, cure, _ = first_mistake(error, InstallationRails)
        raise ConfigError(str(path), key, problem, cure) from None
