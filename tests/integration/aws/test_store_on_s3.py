"""The artefact store on S3, as Airflow's tasks and as the load containers use it: whether their roles may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.capacity.protocol import COMMAND_PATH, DISMISSED_PATH, SPEC_PATH, shard_folder
from include.store.artefacts import ArtefactStore
from tests.integration.sandbox.conftest import RunningSandbox

pytestmark = pytest.mark.system
BUCKET = "headroom-artefacts"
Open = Callable[[str], ArtefactStore]


@pytest.fixture
def opened(sandbox: RunningSandbox) -> Iterator[Open]:
    """The store of a run, as a role that is told by its session."""
    sandbox.client("s3").create_bucket(Bucket=BUCKET)

    def open_as(session: str) -> ArtefactStore:
        endpoint = {"endpoint_url": sandbox.state["endpoint_url"], "region_name": "us-east-1"}
        credentials = {"key": "123456789012", "secret": "sandbox", "token": session}
        return ArtefactStore.open(f"s3://{BUCKET}/runs/checkout/run", client_kwargs=endpoint, **credentials)

    yield open_as
    found = sandbox.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    for entry in found:
        sandbox.client("s3").delete_object(Bucket=BUCKET, Key=entry["Key"])


def test_airflow_keeps_artefacts(opened: Open, tmp_path: Path) -> None:
    store, plan = opened("airflow"), tmp_path / "plan.jmx"
    plan.write_text("<plan/>")
    store.write_json("plan.json", {"service": "checkout"})
    assert store.read_json("plan.json") == {"service": "checkout"}
    assert store.create("lock.json", b"1")
    assert not store.create("lock.json", b"2")
    held = store.read_versioned("lock.json")
    assert held is not None
    assert store.replace("lock.json", b"3", held[1])
    assert not store.replace("lock.json", b"4", held[1])
    store.upload(str(plan), "plan/plan.jmx")
    assert store.names("plan") == ["plan.jmx"]
    store.delete("lock.json")
    assert not store.exists("lock.json")
    assert store.read_or_none("lock.json") is None


def test_a_load_container_reads_orders_and_writes_reports(opened: Open, tmp_path: Path) -> None:
    airflow, shard = opened("airflow"), opened("load-task")
    plan = tmp_path / "plan.jmx"
    plan.write_text("<plan/>")
    airflow.upload(str(plan), "plan/plan.jmx")
    for path in (SPEC_PATH, COMMAND_PATH):
        airflow.write(path, b"{}")
    assert not shard.exists(DISMISSED_PATH)
    assert shard.read(SPEC_PATH) == shard.read_or_none(COMMAND_PATH) == b"{}"
    assert shard.names("plan") == ["plan.jmx"]
    shard.download("plan/plan.jmx", str(tmp_path / "copy.jmx"))
    shard.write(f"{shard_folder(0)}/1/reports/000001.json", b"{}")
    shard.upload(str(plan), f"{shard_folder(0)}/1/results.jtl.gz")
    assert shard.names(shard_folder(0)) == ["1"]
