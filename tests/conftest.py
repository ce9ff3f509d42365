"""Settings for all tests, also where pytest is called without make."""

from __future__ import annotations

import os

from tools.check import ROOT, airflow_settings

# Before the first import of Airflow, which reads its settings once: a test must never touch the user's own Airflow.
for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
os.environ.update(airflow_settings())
# Hypothesis keeps its examples where everything else is written.
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(ROOT / "build" / "hypothesis")
