"""docs/DAGs.md says what the DAGs are."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Param

from tools import docs


@pytest.fixture
def dag() -> DAG:
    with DAG(
        "weekly",
        schedule=None,
        tags={"b", "a"},
        max_active_runs=1,
        doc_md="# Title\n\nText.\n\n### Cost\nNone.\n",
        params={
            "rate": Param(
                None, type=["null", "number"], exclusiveMinimum=0, maximum=800, title="Rate", description="x|y"
            ),
            "level": Param(None, type=["null", "string"], enum=[None, "p95"], title="Level"),
        },
    ) as dag:
        return dag


def test_the_page_is_up_to_date(dagbag: DagBag) -> None:
    dags = [dagbag.dags[dag_id] for dag_id in sorted(dagbag.dags)]
    assert docs.PAGE.read_text(encoding="utf-8") == docs.render(dags), docs.CURE


def test_a_dag_is_described_with_its_form(dag: DAG) -> None:
    page = docs.render([dag])
    assert "## `weekly`" in page
    assert "- schedule: by hand" in page
    assert "- tags: a, b" in page
    assert "# Title" not in page
    assert "### Cost\nNone." in page
    assert "| `rate` | Rate | empty or number, > 0, <= 800 | x\\|y |" in page
    assert "| `level` | Level | empty, p95 |  |" in page


def test_check_writes_nothing_and_fails_on_an_old_page(
    dag: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "load_dags", lambda: [dag])
    page = tmp_path / "DAGs.md"
    assert docs.main(["--check"], page) == 1
    assert not page.exists()
    assert docs.main([], page) == 0
    assert docs.main(["--check"], page) == 0
    page.write_text("old", encoding="utf-8")
    assert docs.main(["--check"], page) == 1
    assert page.read_text(encoding="utf-8") == "old"
    assert "`make docs`" in capsys.readouterr().err
