"""The environment that Airflow's processes get."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from include.capacity.profile import parse_profile
from tools.stack.airflow_environment import (
    HEARTBEAT_TIMEOUT_S,
    Ports,
    SandboxAddress,
    Secrets,
    airflow_environment,
    clean_environment,
    load_password,
    load_secrets,
    sandbox_connection,
)
from tools.stack.layout import ROOT, StackOptions

PORTS = Ports(api=18400, worker_logs=18401, trigger_logs=18402)
KEYS = Secrets(jwt="j", session="s", fernet="f")


def options(folder: Path) -> StackOptions:
    return StackOptions(
        state=folder / "stack",
        airflow_home=folder / "airflow",
        dags=folder / "dags",
        plugins=folder / "plugins",
        build=folder,
        sandbox=folder / "sandbox",
        parallelism=5,
    )


def test_no_setting_of_the_user_reaches_a_local_run() -> None:
    base = {
        "AWS_PROFILE": "production",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW_HOME": "/home/user/airflow",
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "HEADROOM_ARTEFACTS": "s3://production",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/somewhere",
        "HOME": "/home/user",
    }

    environment = clean_environment(base)

    assert environment["HOME"] == "/home/user"
    assert environment["PYTHONPATH"] == str(ROOT)
    assert {name for name in environment if name.startswith(("AWS_", "AIRFLOW", "HEADROOM_", "PYTHONDONT"))} == {
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_EC2_METADATA_DISABLED",
    }
    assert environment["AWS_CONFIG_FILE"] == "/dev/null"


def test_calls_to_the_loopback_address_use_no_proxy() -> None:
    environment = clean_environment({"no_proxy": "example.org,localhost", "https_proxy": "http://proxy:3128"})

    assert environment["no_proxy"] == "example.org,localhost,127.0.0.1"
    assert environment["NO_PROXY"] == "localhost,127.0.0.1"
    assert environment["https_proxy"] == "http://proxy:3128"


def test_everything_listens_on_the_loopback_address(tmp_path: Path) -> None:
    environment = airflow_environment(options(tmp_path), PORTS, KEYS, base={})

    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__API__PORT"] == "18400"
    assert environment["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:18400"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18400/execution/"
    assert environment["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"] == "18401"
    assert environment["AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT"] == "18402"
    assert not [name for name, value in environment.items() if "0.0.0.0" in value]


def test_files_lie_where_the_options_say(tmp_path: Path) -> None:
    environment = airflow_environment(options(tmp_path), PORTS, KEYS, base={})

    assert environment["HEADROOM_STACK"] == str(tmp_path / "stack")
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "dags")
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "5"
    assert environment["HEADROOM_HISTORY"] == f"sqlite:///{tmp_path}/history.db"
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/airflow/airflow.db?timeout=30"


def test_a_shard_outlives_the_time_in_which_a_lost_conductor_is_noticed() -> None:
    path = ROOT / "include" / "services" / "checkout.yaml"
    profile = parse_profile(path.read_text(encoding="utf-8"), str(path))

    assert profile.guard.idle_limit_s > HEARTBEAT_TIMEOUT_S + 20


def test_the_connection_points_to_the_sandbox() -> None:
    variables = sandbox_connection(SandboxAddress("http://127.0.0.1:5000", "eu-west-1", "123456789012"))

    connection = json.loads(variables["AIRFLOW_CONN_AWS_DEFAULT"])
    assert connection["login"] == "123456789012"
    assert connection["extra"] == {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:5000"}


def test_secrets_and_password_are_made_once_and_are_private(tmp_path: Path) -> None:
    stack = options(tmp_path)

    first, password = load_secrets(stack), load_password(stack)

    assert load_secrets(stack) == first
    assert load_password(stack) == password
    assert len(password) >= 12
    for path in (stack.secrets_file, stack.passwords_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_stacks_share_no_secret(tmp_path: Path) -> None:
    first, second = options(tmp_path / "one"), options(tmp_path / "two")

    assert load_secrets(first).jwt != load_secrets(second).jwt
    assert load_password(first) != load_password(second)


def test_damaged_secrets_are_made_anew(tmp_path: Path) -> None:
    stack = options(tmp_path)
    stack.state.mkdir(parents=True)
    stack.secrets_file.write_text("{")
    stack.passwords_file.write_text("[]")

    assert load_secrets(stack).jwt
    assert load_password(stack)


def test_options_survive_json(tmp_path: Path) -> None:
    stack = options(tmp_path)

    assert StackOptions.from_json(stack.to_json()) == stack
