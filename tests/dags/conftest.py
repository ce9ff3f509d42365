"""The DAGs as Airflow's own DAG processor reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dagbag() -> DagBag:
    return DagBag(str(REPOSITORY / "dags"))
