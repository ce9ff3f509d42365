"""Journal, prescale and restore against an in-process AWS."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import pytest

from include.capacity.errors import GuardRefused, NotReady
from include.environment.autoscaling_group import SUSPENDED_BY_RUN
from include.environment.journal import Journal
from include.environment.restoring import Report
from include.pipeline import environment_journal as module
from include.pipeline.environment import SIZES, Environment
from include.pipeline.environment_journal import is_settled, marker_path, open_journal, restorer_of
from include.pipeline.environment_lock import claim_of, take
from include.store.artefacts import ArtefactStore
from tests.unit.pipeline.conftest import GROUP, autoscaling

RUN = {"service": "checkout", "dag_id": "capacity_weekly__checkout", "run_id": "manual__1"}
OTHER = {**RUN, "run_id": "manual__2"}
GROUP_TITLE = "Auto Scaling group checkout-web"
prescale = functools.partial(module.prescale, sleep=lambda seconds: None)


def restore(
    environment: Environment, store: ArtefactStore, folder: ArtefactStore, run: dict[str, str] | None = None
) -> Report:
    return module.restore(environment, store, folder, run or RUN, sleep=lambda seconds: None)


def described() -> dict[str, object]:
    group = autoscaling().describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][0]
    suspended = sorted(process["ProcessName"] for process in group["SuspendedProcesses"])
    return {**{name: group[name] for name in SIZES}, "suspended": suspended}


def update(**sizes: Any) -> None:
    autoscaling().update_auto_scaling_group(AutoScalingGroupName=GROUP, **sizes)


def test_prescale_and_restore_leave_the_group_as_it_was(environment: Environment, store: ArtefactStore) -> None:
    autoscaling().suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["AZRebalance"])
    before = described()
    folder = store.below("checkout/manual__1")
    journal = open_journal(environment, store, folder, RUN)
    prescale(environment, store, journal)
    assert described() == {"MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2, "suspended": sorted(SUSPENDED_BY_RUN)}
    report = restore(environment, store, folder)
    assert (report.equal, report.differences, report.conflicts, report.failures) == (True, [], [], ())
    assert described() == before
    assert restore(environment, store, folder).equal  # twice does no harm
    assert claim_of(environment, store) is None
    assert not store.exists(marker_path(RUN))


def test_a_group_that_protects_its_instances_can_be_brought_back(
    environment: Environment, store: ArtefactStore
) -> None:
    update(NewInstancesProtectedFromScaleIn=True)
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    group = environment.group()
    assert [entry["ProtectedFromScaleIn"] for entry in group["Instances"]] == [False, False]
    assert restore(environment, store, folder).equal
    assert environment.group()["NewInstancesProtectedFromScaleIn"] is True


def test_a_repeated_journal_keeps_the_state_before_the_first_change(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    again = open_journal(environment, store, folder, RUN)
    assert again.entries[0].snapshot["DesiredCapacity"] == 1
    prescale(environment, store, again)
    assert restore(environment, store, folder).equal
    assert described()["DesiredCapacity"] == 1


def test_what_changed_between_the_snapshot_and_the_first_change_is_what_comes_back(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    journal = open_journal(environment, store, folder, RUN)
    update(MinSize=3, DesiredCapacity=3)  # somebody, or the group's own scaling
    prescale(environment, store, journal)
    assert described()["DesiredCapacity"] == 2
    report = restore(environment, store, folder)
    assert report.equal
    assert (
        "DesiredCapacity of Auto Scaling group checkout-web was 1 when the journal was opened and 3" in report.notes[0]
    )
    assert (described()["MinSize"], described()["DesiredCapacity"]) == (3, 3)


def test_prescale_does_not_overwrite_what_somebody_else_sets_meanwhile(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    journal = open_journal(environment, store, folder, RUN)
    prescale(environment, store, journal)
    update(DesiredCapacity=4)
    with pytest.raises(GuardRefused, match=r"DesiredCapacity of .* is 4; this run found 1 and set 2: somebody else"):
        prescale(environment, store, open_journal(environment, store, folder, RUN))
    assert described()["DesiredCapacity"] == 4


def test_a_run_that_is_cleared_after_its_restore_takes_a_new_snapshot(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    restore(environment, store, folder)
    update(MinSize=2, DesiredCapacity=3)
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    assert restore(environment, store, folder).equal
    assert described() == {"MinSize": 2, "MaxSize": 4, "DesiredCapacity": 3, "suspended": []}


def test_a_task_that_was_given_up_changes_nothing_once_the_restore_has_begun(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    began_at = time.time()
    journal = open_journal(environment, store, folder, RUN, began_at)
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    restore(environment, store, folder)
    before = described()
    with pytest.raises(GuardRefused, match="was restored, since this task began"):
        prescale(environment, store, journal)
    with pytest.raises(GuardRefused, match="was restored, since this task began"):
        open_journal(environment, store, folder, RUN, began_at)
    assert described() == before
    assert claim_of(environment, store) is None


def test_a_run_that_ended_before_its_first_change_frees_the_environment(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    journal = open_journal(environment, store, folder, RUN)
    update(MaxSize=9)
    report = restore(environment, store, folder)
    assert (report.equal, report.notes) == (True, ("The run changed nothing.",))
    assert claim_of(environment, store) is None
    with pytest.raises(GuardRefused):
        prescale(environment, store, journal)
    assert described()["MaxSize"] == 9


def test_the_lapsed_lease_of_a_run_that_changed_nothing_is_taken_over_and_the_run_is_over(
    environment: Environment, store: ArtefactStore
) -> None:
    journal = open_journal(environment, store, store.below("checkout/manual__1"), RUN)
    take(environment, store, OTHER, is_settled, now=lambda: time.time() + 1000)
    with pytest.raises(GuardRefused):
        prescale(environment, store, journal)
    assert described()["DesiredCapacity"] == 1


def test_a_lapsed_lease_is_not_taken_over_while_something_is_left_to_restore(
    environment: Environment, store: ArtefactStore
) -> None:
    prescale(environment, store, open_journal(environment, store, store.below("checkout/manual__1"), RUN))
    with pytest.raises(GuardRefused, match=r"not restored.*include\.pipeline\.restore checkout"):
        take(environment, store, OTHER, is_settled, now=lambda: time.time() + 1000)


def test_a_run_that_took_the_environment_and_opened_no_journal_gives_it_back(
    environment: Environment, store: ArtefactStore
) -> None:
    take(environment, store, RUN, is_settled)
    assert restore(environment, store, store.below("checkout/manual__1")).equal
    assert claim_of(environment, store) is None


def test_another_run_is_refused_while_the_environment_is_held(environment: Environment, store: ArtefactStore) -> None:
    open_journal(environment, store, store.below("checkout/manual__1"), RUN)
    with pytest.raises(GuardRefused, match=r"held by run 'manual__1'.*include\.pipeline\.restore checkout"):
        open_journal(environment, store, store.below("checkout/manual__2"), OTHER)
    assert described()["DesiredCapacity"] == 1


def test_an_old_run_does_not_touch_the_environment_of_a_new_one(environment: Environment, store: ArtefactStore) -> None:
    old, new = store.below("checkout/manual__1"), store.below("checkout/manual__2")
    prescale(environment, store, open_journal(environment, store, old, RUN))
    restore(environment, store, old)
    prescale(environment, store, open_journal(environment, store, new, OTHER))
    with pytest.raises(GuardRefused, match="held by run 'manual__2'"):
        restore(environment, store, old)
    assert described()["DesiredCapacity"] == 2
    restore(environment, store, new, OTHER)
    update(DesiredCapacity=2)
    again = restore(environment, store, old)
    assert again.equal
    assert "DesiredCapacity of Auto Scaling group checkout-web is 2 and was 1: changed since" in again.notes[1]
    assert described()["DesiredCapacity"] == 2  # somebody's wish of today, not this run's of yesterday


def test_what_somebody_else_changed_meanwhile_is_a_conflict_and_stays(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    update(MaxSize=9)
    autoscaling().suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["ReplaceUnhealthy"])
    report = restore(environment, store, folder)
    assert not report.equal
    assert report.conflicts == [
        f"MaxSize of {GROUP_TITLE} is 9; it was 4 before the run, which did not touch it. Somebody else has changed "
        "it: left as it is.",
        f"process ReplaceUnhealthy of {GROUP_TITLE} is suspended; it was active before the run, which did not touch "
        "it. Somebody else has changed it: left as it is.",
    ]
    assert described() == {"MinSize": 1, "MaxSize": 9, "DesiredCapacity": 1, "suspended": ["ReplaceUnhealthy"]}
    assert claim_of(environment, store) is None  # nothing is left for this run to undo


def test_a_size_that_a_foreign_limit_forbids_gives_way_and_comes_back_once_that_is_settled(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    update(MinSize=3, DesiredCapacity=3)
    update(DesiredCapacity=3, MaxSize=3)
    report = restore(environment, store, folder)
    assert described() == {"MinSize": 3, "MaxSize": 3, "DesiredCapacity": 3, "suspended": []}
    assert len(report.conflicts) == 3
    update(MinSize=1, DesiredCapacity=2, MaxSize=4)  # as the run had it
    report = restore(environment, store, folder)
    assert (report.equal, described()["DesiredCapacity"]) == (True, 1)
    assert claim_of(environment, store) is None


def test_our_own_size_above_a_foreign_minimum_is_brought_as_near_as_possible(
    environment: Environment, store: ArtefactStore
) -> None:
    update(MaxSize=6, DesiredCapacity=4)
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    update(MaxSize=3)  # by somebody else; the group has 2 now and had 4
    report = restore(environment, store, folder)
    assert described()["DesiredCapacity"] == 3
    assert "4 does not fit to MinSize 1, MaxSize 3" in report.conflicts[1]
    assert claim_of(environment, store) is None
    update(MaxSize=6)
    assert restore(environment, store, folder).equal
    assert described()["DesiredCapacity"] == 4


def test_a_size_above_the_maximum_raises_the_maximum_for_the_run(
    environment: Environment, store: ArtefactStore
) -> None:
    update(MaxSize=1)
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    assert described()["MaxSize"] == 2
    restore(environment, store, folder)
    assert described()["MaxSize"] == 1


def test_a_journal_of_the_first_schema_is_restored(environment: Environment, store: ArtefactStore) -> None:
    folder = store.below("checkout/manual__1")
    old = {
        "schema": 1,
        "run": RUN,
        "autoscaling_group": GROUP,
        "sizes": {
            "MinSize": {"before": 1, "ours": 1},
            "MaxSize": {"before": 1, "ours": 2},
            "DesiredCapacity": {"before": 1, "ours": 2},
        },
        "suspended": {"before": ["AZRebalance"], "ours": sorted(SUSPENDED_BY_RUN)},
    }
    folder.write_json("journal.json", old)
    update(MaxSize=2, DesiredCapacity=2)
    autoscaling().suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=sorted(SUSPENDED_BY_RUN))
    assert not is_settled(store, RUN)
    assert restore(environment, store, folder).equal
    assert described() == {"MinSize": 1, "MaxSize": 1, "DesiredCapacity": 1, "suspended": ["AZRebalance"]}
    assert is_settled(store, RUN)
    update(DesiredCapacity=1, MaxSize=5)
    assert restore(environment, store, folder).equal
    prescale(environment, store, open_journal(environment, store, folder, RUN))  # cleared: a journal of today
    assert restore(environment, store, folder).equal
    assert described()["MaxSize"] == 5


def test_a_journal_of_the_first_schema_that_was_restored_is_over(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    sizes = {name: {"before": 1, "ours": 2} for name in SIZES}
    suspended: dict[str, list[str]] = {"before": [], "ours": []}
    old = {"schema": 1, "run": RUN, "autoscaling_group": GROUP, "sizes": sizes, "suspended": suspended}
    folder.write_json("journal.json", old)
    folder.write_json("restored.json", {"equal": True, "differences": [], "conflicts": []})
    assert is_settled(store, RUN)
    update(MaxSize=2, DesiredCapacity=2)
    restore(environment, store, folder)
    assert described()["DesiredCapacity"] == 2


def test_restore_without_a_journal_changes_nothing(environment: Environment, store: ArtefactStore) -> None:
    folder = store.below("checkout/manual__9")
    assert Journal.read(folder).phase == "none"
    assert restore(environment, store, folder, {**RUN, "run_id": "manual__9"}).equal


def test_a_preview_changes_nothing_and_says_what_would_happen(environment: Environment, store: ArtefactStore) -> None:
    folder = store.below("checkout/manual__1")
    prescale(environment, store, open_journal(environment, store, folder, RUN))
    update(MaxSize=9)
    found = restorer_of(environment, store, folder, RUN, sleep=lambda seconds: None).preview()
    rows = {row.field: (row.before, row.ours, row.now, row.finding, row.target) for row in found.rows if row.differs}
    assert rows == {
        "DesiredCapacity": (1, 2, 2, "undo", 1),
        "MaxSize": (4, None, 9, "foreign", None),
        **{f"process {name}": ("active", "suspended", "suspended", "undo", "active") for name in SUSPENDED_BY_RUN},
    }
    assert described()["DesiredCapacity"] == 2
    assert json.loads(json.dumps(found.to_json()))["equal"] is False


def test_a_size_that_is_not_reached_names_every_instance(environment: Environment) -> None:
    with pytest.raises(NotReady, match=r"did not reach 3 ready instances within 0 s: 1 of 3 instances ready \(i-"):
        environment.wait_for_size(3, 0)


def test_missing_resources_name_the_profile_key(environment: Environment) -> None:
    autoscaling().delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    with pytest.raises(NotReady, match=r"no Auto Scaling group 'checkout-web'.*aws\.autoscaling_group"):
        environment.group()


def test_the_target_is_the_load_balancers_address(environment: Environment) -> None:
    scheme, host, port = environment.target()
    assert (scheme, port) == ("http", 8123)
    assert host.endswith("amazonaws.com")
