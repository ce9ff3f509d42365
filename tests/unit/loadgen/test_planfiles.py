"""Bringing the plan and its files from the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.capacity.errors import StoreError
from include.loadgen.planfiles import fetch_plan
from include.store.artefacts import ArtefactStore


@pytest.mark.parametrize("url", ["{folder}", "memory://fetch-plan-{name}"])
def test_the_plan_keeps_its_place_among_its_files(tmp_path: Path, url: str) -> None:
    store = ArtefactStore.open(url.format(folder=tmp_path / "store", name=tmp_path.name))
    files = {"plan/shop.jmx": b"jmx", "plan/users.csv": b"u", "plan/data/data/deep.csv": b"d", "plan/one/one": b"1"}
    for path, data in {**files, "elsewhere/x": b"x"}.items():
        store.write(path, data)
    plan = fetch_plan(store, "plan/shop.jmx", "plan", tmp_path / "local")
    assert plan == tmp_path / "local" / "plan" / "shop.jmx"
    fetched = {
        str(path.relative_to(tmp_path / "local")): path.read_bytes()
        for path in (tmp_path / "local").rglob("*")
        if path.is_file()
    }
    assert fetched == files


def test_a_plan_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    store = ArtefactStore.open(str(tmp_path / "store"))
    with pytest.raises(StoreError, match=r"shop\.jmx"):
        fetch_plan(store, "plan/shop.jmx", "plan", tmp_path / "local")
