"""The shard's address book: a hosts file that follows names within the list, and a refusal when one leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from include.capacity.errors import GuardRefused
from include.loadgen.addresses import RESOLVE_EVERY_S, AddressBook, resolved


class Names:
    """A name server, and a clock."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known: dict[str, Sequence[str] | OSError] = dict(known)
        self.now = 0.0
        self.said: list[str] = []

    def resolve(self, host: str) -> Sequence[str]:
        found = self.known.get(host, OSError("no such name"))
        if isinstance(found, OSError):
            raise found
        return found

    def book(self, file: Path, pinned: dict[str, Sequence[str]], *networks: str, turn: int = 0) -> AddressBook:
        return AddressBook(
            pinned, networks, file, turn=turn, say=self.said.append, monotonic=lambda: self.now, resolve=self.resolve
        )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hosts"


def lines(file: Path, host: str) -> list[str]:
    return [line.split()[0] for line in file.read_text().splitlines() if line.endswith(f" {host}")]


def test_names_are_pinned_and_each_turn_begins_with_another_address(file: Path) -> None:
    names = Names(shop=["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    book = names.book(file, {"shop": ["10.0.0.1", "10.0.0.2"], "127.0.0.1": ["127.0.0.1"]}, turn=1)
    book.open()
    assert lines(file, "shop") == ["10.0.0.2", "10.0.0.1"]
    book.step()
    assert lines(file, "shop") == ["10.0.0.1", "10.0.0.2"]
    assert "127.0.0.1 127.0.0.1" not in file.read_text()
    assert "shop is 10.0.0.1, 10.0.0.2, and nothing else for this run" in names.said


def test_a_name_that_leaves_its_pins_refuses_the_start_and_stops_the_load(file: Path) -> None:
    names = Names(shop=["10.9.9.9"])
    with pytest.raises(GuardRefused, match=r"shop resolves to 10\.9\.9\.9 now"):
        names.book(file, {"shop": ["10.0.0.1"]}).open()
    names.known["shop"] = ["10.0.0.1"]
    book = names.book(file, {"shop": ["10.0.0.1"]})
    book.open()
    names.known["shop"] = ["10.9.9.9"]
    names.now += RESOLVE_EVERY_S - 1
    book.step()
    assert book.refusal == ""
    names.now += 1
    book.step()
    assert "shop resolves to 10.9.9.9 now" in book.refusal
    assert lines(file, "shop") == ["10.0.0.1"]  # never the foreign one, not even for a moment
    names.known["shop"] = ["10.0.0.1"]
    names.now += RESOLVE_EVERY_S
    book.step()
    assert book.refusal  # for good


def test_with_networks_the_load_follows_the_name_within_them(file: Path) -> None:
    names = Names(shop=["10.0.0.1"])
    book = names.book(file, {"shop": ["10.0.0.1"]}, "10.0.0.0/24")
    book.open()
    names.known["shop"] = ["10.0.0.7", "10.0.0.8"]  # a load balancer that scales
    names.now += RESOLVE_EVERY_S
    book.step()
    assert sorted(lines(file, "shop")) == ["10.0.0.7", "10.0.0.8"]
    names.known["shop"] = ["10.0.0.7", "10.0.1.8"]
    names.now += RESOLVE_EVERY_S
    book.step()
    assert "10.0.1.8" in book.refusal


def test_a_name_server_that_fails_changes_nothing(file: Path) -> None:
    names = Names(shop=["10.0.0.1"])
    book = names.book(file, {"shop": ["10.0.0.1"], "pay": ["10.0.0.2"], "later": []})
    book.open()
    assert lines(file, "pay") == ["10.0.0.2"]  # as it was when the run was checked
    assert lines(file, "later") == []
    names.known["shop"] = OSError("timed out")
    names.known["later"] = ["10.0.0.5"]
    for _ in range(3):
        names.now += RESOLVE_EVERY_S
        book.step()
    assert book.refusal == ""
    assert lines(file, "shop") == ["10.0.0.1"]
    assert [said for said in names.said if "timed out" in said] == ["shop cannot be resolved now: timed out"]
    assert lines(file, "later") == ["10.0.0.5"]
    names.known["later"] = ["10.0.0.6"]  # its first addresses are its pins
    names.now += RESOLVE_EVERY_S
    book.step()
    assert "later resolves to 10.0.0.6 now" in book.refusal


def test_a_full_disk_leaves_the_file_and_raises_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(shop=["10.0.0.1", "10.0.0.2"])
    book = names.book(file, {"shop": []})
    book.open()
    before = file.read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    book.step()
    assert file.read_text() == before


def test_this_machine_resolves_itself() -> None:
    assert "127.0.0.1" in resolved("localhost")
