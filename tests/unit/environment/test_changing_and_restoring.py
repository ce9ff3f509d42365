"""Changing and restoring over resources in memory: conflicts, failures, races, and changes that are not made twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from include.capacity.errors import ConfigError, GuardRefused, NotReady, StoreError
from include.environment.changing import Changer
from include.environment.journal import Journal
from include.environment.record import Entry
from include.environment.resource import Fields, Fit
from include.environment.restoring import Restorer
from include.environment.table import table
from include.store.artefacts import ArtefactStore
from tests.unit.environment.thing import RUN, FakeLock, Sleeper, Thing, refused

WANTED = {"size": 2}


class Stage:
    """A run over some resources."""

    def __init__(self, folder: ArtefactStore, *things: Thing) -> None:
        self.folder, self.things, self.lock, self.sleep = folder, things, FakeLock(), Sleeper()
        self.journal = Journal.read(folder, sleep=self.sleep)
        self.journal.open(RUN, time.time(), lambda: things)

    def prescale(self) -> None:
        Changer(self.journal, self.lock, self.sleep).prescale(self.things, 10.0)

    def restorer(self, find: Callable[[Entry], Thing] | None = None) -> Restorer:
        by_name = {thing.name: thing for thing in self.things}
        find = find or (lambda entry: by_name[entry.reference["name"]])
        journal = Journal.read(self.folder, sleep=self.sleep)
        return Restorer(journal, self.lock, find, 10.0, self.sleep, time.time)


@pytest.fixture
def folder(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path))


def test_what_holds_already_is_not_touched(folder: ArtefactStore) -> None:
    thing = Thing({"size": 2, "on": True}, [WANTED, {"on": False}])
    stage = Stage(folder, thing)
    stage.prescale()
    assert thing.sets == [{"on": False}]
    stage.prescale()
    report = stage.restorer().restore()
    assert (report.equal, thing.sets) == (True, [{"on": False}, {"on": True}])
    assert stage.lock.held is None


@pytest.mark.parametrize("code", ["Throttling", "ServiceUnavailable", "InternalFailure"])
def test_a_change_whose_answer_is_lost_is_not_made_twice(folder: ArtefactStore, code: str) -> None:
    def lose(fields: Fields) -> None:
        raise refused(code, 503)

    thing = Thing({"size": 1}, [WANTED], after_set=lose)
    stage = Stage(folder, thing)
    stage.prescale()
    assert stage.restorer().restore().equal
    assert thing.sets == [{"size": 2}, {"size": 1}]


def test_what_is_throttled_is_repeated_after_growing_pauses(folder: ArtefactStore) -> None:
    left = [refused("Throttling")] * 3

    def refuse(fields: Fields) -> None:
        if left:
            raise left.pop()

    thing = Thing({"size": 1}, [WANTED], before_set=refuse)
    stage = Stage(folder, thing)
    stage.prescale()
    assert (thing.sets, stage.sleep.slept) == ([{"size": 2}], [0.5, 1.0, 2.0])


def test_patience_ends(folder: ArtefactStore) -> None:
    def refuse(fields: Fields) -> None:
        raise refused("Throttling")

    stage = Stage(folder, Thing({"size": 1}, [WANTED], before_set=refuse))
    with pytest.raises(NotReady, match="Throttling"):
        stage.prescale()
    assert sum(stage.sleep.slept) == pytest.approx(39.5)


def test_what_is_refused_for_good_is_not_repeated(folder: ArtefactStore) -> None:
    def refuse(fields: Fields) -> None:
        raise refused("AccessDenied", 403)

    stage = Stage(folder, Thing({"size": 1}, [WANTED], before_set=refuse))
    with pytest.raises(NotReady, match="AccessDenied"):
        stage.prescale()
    assert stage.sleep.slept == []


def test_a_change_that_shows_late_is_waited_for_and_not_made_twice(folder: ArtefactStore) -> None:
    shown = Thing({"size": 1}, [WANTED])
    state, shown.state = shown.state, {}
    looks = iter(range(100))
    set_at: list[int] = []

    class Late(Thing):
        def read(self) -> dict[str, bool | int | str]:
            return {"size": 2} if set_at and next(looks) >= 2 else {"size": 1}

        def set(self, fields: Fields) -> None:
            self.sets.append(dict(fields))
            set_at.append(1)

    thing = Late(state, [WANTED])
    Stage(folder, thing).prescale()
    assert thing.sets == [{"size": 2}]


def test_a_change_that_never_shows_is_told(folder: ArtefactStore) -> None:
    class Deaf(Thing):
        def set(self, fields: Fields) -> None:
            self.sets.append(dict(fields))

    thing = Deaf({"size": 1}, [WANTED])
    with pytest.raises(NotReady, match="AWS accepted to set size to 2, but does not show it"):
        Stage(folder, thing).prescale()
    assert thing.sets == [{"size": 2}]


def test_one_resource_that_cannot_be_restored_does_not_keep_the_others_from_it(folder: ArtefactStore) -> None:
    first, second = Thing({"size": 1}, [WANTED], "first"), Thing({"size": 1}, [WANTED], "second")
    stage = Stage(folder, first, second)
    stage.prescale()

    def refuse(fields: Fields) -> None:
        raise refused("AccessDenied", 403)

    second.before_set = refuse
    report = stage.restorer().restore()
    assert (first.state, second.state) == ({"size": 1}, {"size": 2})
    assert report.failures == ("second: AWS refused: AccessDenied.",)
    assert report.differences == ["size of second is 2 and was 1"]
    assert (report.equal, report.settled, stage.lock.held) == (False, False, RUN)
    second.before_set = lambda fields: None
    assert stage.restorer().restore().equal
    assert (len(first.sets), stage.lock.held) == (2, None)


def test_a_kind_that_is_not_known_is_told_and_the_others_are_restored(folder: ArtefactStore) -> None:
    first, second = Thing({"size": 1}, [WANTED], "first"), Thing({"size": 1}, [WANTED], "second")
    stage = Stage(folder, first, second)
    stage.prescale()

    def find(entry: Entry) -> Thing:
        if entry.title == "second":
            raise ConfigError("journal", "second", "is of a kind that is not known.", "Take a newer version.")
        return first

    report = stage.restorer(find).restore()
    assert first.state == {"size": 1}
    assert "second: journal: second: is of a kind that is not known. Take a newer version." in report.failures


def test_alarms_speak_again_only_when_all_else_has_settled(folder: ArtefactStore) -> None:
    order: list[str] = []
    alarms = Thing({"on": True}, [{"on": False}], "alarms", last=True, after_set=lambda fields: order.append("alarms"))
    group = Thing({"size": 1}, [WANTED], "group", after_set=lambda fields: order.append("group"))
    group.settle = lambda within_s, sleep: order.append("settled")  # type: ignore[method-assign]
    stage = Stage(folder, alarms, group)
    stage.prescale()
    order.clear()
    assert stage.restorer().restore().equal
    assert order == ["group", "settled", "alarms"]


def test_a_foreign_change_is_shown_and_left(folder: ArtefactStore) -> None:
    thing = Thing({"size": 1, "on": True, "max": 4}, [WANTED, {"on": False}])
    stage = Stage(folder, thing)
    stage.prescale()
    thing.state |= {"size": 3, "max": 9}
    preview = stage.restorer().preview()
    assert table(preview.rows) == "\n".join(
        [
            "thing",
            "  field  before  ours  now  action",
            "  max    4       -     9    left: somebody else has changed it",
            "  on     on      off   off  set to on",
            "  size   1       2     3    left: somebody else has changed it",
        ]
    )
    report = stage.restorer().restore()
    assert thing.state == {"size": 3, "on": True, "max": 9}
    assert (len(report.conflicts), report.settled, report.equal, stage.lock.held) == (2, True, False, None)
    thing.state |= {"size": 1, "max": 4}  # settled by that person
    assert stage.restorer().restore().equal


def test_a_value_that_looks_like_ours_but_was_never_set_by_us_is_somebody_elses(folder: ArtefactStore) -> None:
    thing = Thing({"size": 1, "on": True}, [{"on": False}, WANTED])

    def refuse(fields: Fields) -> None:
        if "size" in fields:
            raise refused("AccessDenied", 403)

    thing.before_set = refuse
    stage = Stage(folder, thing)
    with pytest.raises(NotReady):
        stage.prescale()
    thing.state["other"] = 1
    thing.before_set = lambda fields: None
    del stage.journal.entries[0].records["size"]
    report = stage.restorer().restore()
    assert (report.equal, thing.state["size"]) == (True, 1)


def test_a_half_done_change_is_put_back_even_if_it_arrives_while_restoring(folder: ArtefactStore) -> None:
    """The process was killed behind the record; its request is on the way."""

    def die(fields: Fields) -> None:
        raise KeyboardInterrupt

    thing = Thing({"size": 1}, [WANTED], before_set=die)
    stage = Stage(folder, thing)
    with pytest.raises(KeyboardInterrupt):
        stage.prescale()
    thing.before_set = lambda fields: None

    def arrive(seconds: float) -> None:
        stage.sleep.slept.append(seconds)
        thing.state["size"] = 2

    restorer = stage.restorer()
    restorer.sleep = arrive
    report = restorer.restore()
    assert (report.equal, thing.state) == (True, {"size": 1})
    assert stage.sleep.slept == [pytest.approx(40.0, abs=2.0)]


def test_a_process_that_wakes_up_behind_the_restore_takes_its_change_back(folder: ArtefactStore) -> None:
    thing = Thing({"size": 1}, [WANTED])
    stage = Stage(folder, thing)

    def restore_meanwhile(fields: Fields) -> None:
        """The process was stopped between its record and its change; the restore is over when it goes on."""
        thing.before_set = lambda fields: None
        assert stage.restorer().restore().equal
        assert stage.lock.held is None

    thing.before_set = restore_meanwhile
    with pytest.raises(GuardRefused, match="was restored, since this task began"):
        stage.prescale()
    assert thing.state == {"size": 1}


def test_such_a_process_leaves_alone_what_another_run_holds_by_then(folder: ArtefactStore) -> None:
    thing = Thing({"size": 1}, [WANTED])
    stage = Stage(folder, thing)

    def restore_meanwhile(fields: Fields) -> None:
        thing.before_set = lambda fields: None
        stage.restorer().restore()
        stage.lock.held = {**RUN, "run_id": "manual__2"}

    thing.before_set = restore_meanwhile
    with pytest.raises(GuardRefused):
        stage.prescale()
    assert len(thing.sets) == 1


def test_a_run_that_lost_its_hold_changes_nothing(folder: ArtefactStore) -> None:
    thing = Thing({"size": 1}, [WANTED])
    stage = Stage(folder, thing)
    stage.lock.held = {**RUN, "run_id": "manual__2"}
    with pytest.raises(GuardRefused, match="held by"):
        stage.prescale()
    assert thing.sets == []
    assert stage.restorer().restore().notes == ("The run changed nothing.",)


def test_restoring_stops_when_another_run_gets_the_environment(folder: ArtefactStore) -> None:
    thing = Thing({"size": 1, "on": True}, [WANTED])
    stage = Stage(folder, thing)
    stage.prescale()
    restorer = stage.restorer()

    def lose() -> None:
        stage.lock.held = {**RUN, "run_id": "manual__2"}

    thing.on_read = lose
    with pytest.raises(GuardRefused):
        restorer.restore()
    assert thing.state["size"] == 2


def test_a_store_that_cannot_be_written_does_not_keep_the_environment_from_being_restored(
    folder: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing = Thing({"size": 1}, [WANTED])
    stage = Stage(folder, thing)
    stage.prescale()

    def full(self: ArtefactStore, path: str, data: bytes, *, durable: bool = False) -> bool:
        raise StoreError("No space left.")

    with monkeypatch.context() as patch:
        patch.setattr(ArtefactStore, "create", full)
        report = stage.restorer().restore()
    assert thing.state == {"size": 1}
    assert "could not be recorded: No space left." in report.failures[0]
    assert stage.lock.held == RUN
    assert stage.restorer().restore().equal
    assert stage.lock.held is None


def test_what_was_put_back_and_freed_is_not_the_runs_any_more(folder: ArtefactStore) -> None:
    thing = Thing({"size": 1}, [WANTED])
    stage = Stage(folder, thing)
    stage.prescale()
    stage.restorer().restore()
    thing.state["size"] = 2  # somebody's wish of today
    report = stage.restorer().restore()
    assert (report.equal, thing.state["size"]) == (True, 2)
    assert "size of thing is 2 and was 1: changed since the run was restored." in report.notes


def test_what_a_foreign_limit_keeps_from_coming_back_comes_back_once_that_is_settled(folder: ArtefactStore) -> None:
    class Limited(Thing):
        def fit(self, now: Fields, wanted: Fields) -> Fit:
            if "size" in wanted and wanted["size"] > now["max"]:  # type: ignore[operator]
                return Fit({"size": now["max"]}, {"size": f"{wanted['size']} is above max"})
            return Fit(wanted)

    thing = Limited({"size": 5, "max": 9}, [WANTED])
    stage = Stage(folder, thing)
    stage.prescale()
    thing.state["max"] = 3
    assert "set to 3: 5 is above max" in table(stage.restorer().preview().rows)
    report = stage.restorer().restore()
    assert (thing.state["size"], report.settled, stage.lock.held) == (3, True, None)
    assert report.conflicts[1] == "size of thing is 3 and was 5: 5 is above max."
    assert "left: 5 is above max" in table(stage.restorer().preview().rows)
    thing.state["max"] = 9
    report = stage.restorer().restore()
    assert (thing.state["size"], report.equal, stage.lock.held) == (5, True, None)
