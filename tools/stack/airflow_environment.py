"""The environment variables that Airflow's processes run with. Everything is here; no airflow.cfg is edited."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.stack.layout import ROOT, StackOptions
from tools.stack.processes import COMPONENT_MARK, MARK

ADMIN = "admin"
LOOPBACK = "127.0.0.1"
# A lost task is noticed after this long. The profile's guard.idle_limit must be longer: a shard that gives up earlier
# would not be there any more for the retry of its conductor.
HEARTBEAT_TIMEOUT_S = 40

# A user's own settings for AWS or Airflow must not reach a local run, nor those of the shell that started it.
_DROPPED_PREFIXES = ("AWS_", "AIRFLOW", "_AIRFLOW", "BOTO_")
_DROPPED = frozenset(
    {
        MARK,
        COMPONENT_MARK,
        "HEADROOM_ARTEFACTS",
        "HEADROOM_HISTORY",
        "HEADROOM_INSTALLATION",
        "HEADROOM_GUARD_RAILS",
        "PYTHONDONTWRITEBYTECODE",  # each start would compile all of Airflow
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONOPTIMIZE",
    }
)
_NO_PROXY_HOSTS = ("localhost", LOOPBACK)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack, all on the loopback address."""

    api: int
    worker_logs: int
    trigger_logs: int

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.api}"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What signs tokens and encrypts connections; generated once per state folder."""

    jwt: str
    session: str
    fernet: str


@dataclass(frozen=True, slots=True)
class SandboxAddress:
    """Where the AWS endpoint of the sandbox listens."""

    endpoint_url: str
    region: str
    account_id: str


def clean_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without anything that would change what AWS or Airflow do here."""
    source = os.environ if base is None else base
    kept = {
        name: value for name, value in source.items() if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }
    kept["PYTHONPATH"] = str(ROOT)
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), source.get("PATH", os.defpath)])
    # Calls to loopback addresses must not go through a proxy.
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in source.get(name, "").split(",") if host]
        kept[name] = ",".join([*hosts, *(host for host in _NO_PROXY_HOSTS if host not in hosts)])
    # ~/.aws belongs to the user's real accounts.
    kept["AWS_CONFIG_FILE"] = kept["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    kept["AWS_EC2_METADATA_DISABLED"] = "true"
    return kept


def airflow_environment(
    options: StackOptions, ports: Ports, keys: Secrets, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """All variables of Airflow's processes but the connection to the sandbox."""
    environment = clean_environment(base)
    environment |= {
        MARK: str(options.state),
        # setproctitle would overwrite the memory that holds the mark.
        "SPT_NOENV": "1",
        "AIRFLOW_HOME": str(options.airflow_home),
        "HEADROOM_ARTEFACTS": str(options.build / "artefacts"),
        "HEADROOM_HISTORY": f"sqlite:///{options.build / 'history.db'}",
        # Analysis must not take both cores from what is measured.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    for section, settings in _settings(options, ports, keys).items():
        for key, value in settings.items():
            environment[f"AIRFLOW__{section.upper()}__{key.upper()}"] = str(value)
    return environment


def sandbox_connection(sandbox: SandboxAddress) -> dict[str, str]:
    """The variable that makes the connection `aws_default` point to the sandbox."""
    connection = {
        "conn_type": "aws",
        "login": sandbox.account_id,
        "password": "sandbox",
        "extra": {"region_name": sandbox.region, "endpoint_url": sandbox.endpoint_url},
    }
    return {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)}


def _settings(options: StackOptions, ports: Ports, keys: Secrets) -> dict[str, dict[str, object]]:
    return {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": options.parallelism,
            "dags_folder": options.dags,
            "plugins_folder": options.plugins,
            "load_examples": False,
            "fernet_key": keys.fernet,
            "execution_api_server_url": f"{ports.address}/execution/",
            # The log servers are called by this name. It also spares a look-up that takes seconds where DNS is broken.
            "hostname_callable": "tools.stack.component.loopback_host",
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": options.passwords_file,
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{options.database}?timeout=30"},
        "api": {
            "host": LOOPBACK,
            "port": ports.api,
            "base_url": ports.address,
            "workers": 1,
            "secret_key": keys.session,
        },
        "api_auth": {"jwt_secret": keys.jwt},
        "scheduler": {
            "task_instance_heartbeat_timeout": HEARTBEAT_TIMEOUT_S,
            "task_instance_heartbeat_timeout_detection_interval": 5,
            "orphaned_tasks_check_interval": 15,
            "scheduler_health_check_threshold": 15,
            "scheduler_health_check_server_host": LOOPBACK,
            # The pause between two rounds is most of what a short task costs.
            "scheduler_idle_sleep_time": 0.5,
        },
        "triggerer": {"triggerer_health_check_threshold": 15},
        "dag_processor": {
            "refresh_interval": 5,
            # A changed DAG file is parsed at once; the others only this often, since parsing takes CPU from the load.
            "min_file_process_interval": 60,
            "dag_version_inflation_check_level": "error",
        },
        "logging": {
            "base_log_folder": options.logs / "tasks",
            "dag_processor_child_process_log_directory": options.logs / "dag_processor",
            "worker_log_server_port": ports.worker_logs,
            "trigger_log_server_port": ports.trigger_logs,
            "colored_console_log": False,
        },
        "usage_data_collection": {"enabled": False},
    }


def load_secrets(options: StackOptions) -> Secrets:
    """Read the state folder's secrets, or make them."""
    try:
        return Secrets(**json.loads(options.secrets_file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        keys = Secrets(
            jwt=secrets.token_urlsafe(48),
            session=secrets.token_urlsafe(48),
            fernet=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )
        values = {"jwt": keys.jwt, "session": keys.session, "fernet": keys.fernet}
        _write_private(options.secrets_file, json.dumps(values))
        return keys


def load_password(options: StackOptions) -> str:
    """Read the password of the local user `admin`, or make one."""
    try:
        return str(json.loads(options.passwords_file.read_text(encoding="utf-8"))[ADMIN])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        password = secrets.token_urlsafe(9)
        _write_private(options.passwords_file, json.dumps({ADMIN: password}))
        return password


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
