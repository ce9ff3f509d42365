"""Where this installation keeps artefacts and history: the only environment variables that the pipeline reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from include.store.artefacts import ArtefactStore

VERSION = "0.1.0"
REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES = REPOSITORY / "include" / "services"


@dataclass(frozen=True, slots=True)
class Installation:
    """Attributes:
    artefacts: a folder or fsspec URL (HEADROOM_ARTEFACTS).
    history: a SQLAlchemy URL (HEADROOM_HISTORY).
    name: tells this Airflow installation from others that share the artefacts (HEADROOM_INSTALLATION).
    guard_rails: a file of limits above every profile (HEADROOM_GUARD_RAILS); empty: none.
    """

    artefacts: str
    history: str
    name: str = "airflow"
    guard_rails: str = ""

    @classmethod
    def from_environment(cls) -> Installation:
        build = REPOSITORY / "build"
        return cls(
            os.environ.get("HEADROOM_ARTEFACTS", str(build / "artefacts")),
            os.environ.get("HEADROOM_HISTORY", f"sqlite:///{build / 'history.db'}"),
            os.environ.get("HEADROOM_INSTALLATION", "airflow"),
            os.environ.get("HEADROOM_GUARD_RAILS", ""),
        )

    def store(self) -> ArtefactStore:
        return ArtefactStore.open(self.artefacts)
