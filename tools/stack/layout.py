"""Where the stack keeps its files, and what a caller may choose about it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_STATE = ROOT / "build" / "stack"
DEFAULT_PARALLELISM = 8  # two shards, a conductor, the tasks beside them, and room for a second run


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What one stack runs on; all paths are absolute.

    Attributes:
        state: the stack's own folder (state.json, passwords, secrets, logs). It names the stack: one folder, one stack.
        airflow_home: Airflow's database and generated configuration.
        dags, plugins: what Airflow loads.
        build: the folder of artefacts and history.
        sandbox: the state folder of the sandbox, None for an Airflow without one.
        plant: the plant file for a sandbox that has to be started; None takes the sandbox's default.
        parallelism: tasks that run at the same time.
        port: the wanted port of the UI; None takes the last one, or the first free one.
    """

    state: Path
    airflow_home: Path
    dags: Path
    plugins: Path
    build: Path
    sandbox: Path | None
    plant: Path | None = None
    parallelism: int = DEFAULT_PARALLELISM
    port: int | None = None

    @classmethod
    def default(cls) -> StackOptions:
        build = ROOT / "build"
        return cls(
            state=DEFAULT_STATE,
            airflow_home=build / "airflow",
            dags=ROOT / "dags",
            plugins=ROOT / "plugins",
            build=build,
            sandbox=build / "sandbox",
        )

    @property
    def logs(self) -> Path:
        """Every log of the stack, those of the tasks included."""
        return self.state / "logs"

    @property
    def state_file(self) -> Path:
        return self.state / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held by the living supervisor."""
        return self.state / "lock"

    @property
    def passwords_file(self) -> Path:
        return self.state / "passwords.json"

    @property
    def secrets_file(self) -> Path:
        return self.state / "secrets.json"

    @property
    def database(self) -> Path:
        return self.airflow_home / "airflow.db"

    def log_of(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> StackOptions:
        values: dict[str, Any] = json.loads(text)
        for key in ("state", "airflow_home", "dags", "plugins", "build", "sandbox", "plant"):
            if values[key] is not None:
                values[key] = Path(values[key])
        return cls(**values)
