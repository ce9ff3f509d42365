"""Runs cases one after another and judges what is left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from include.pipeline.environment_lock import claim_of
from include.store.artefacts import ArtefactStore
from tests.faults.lifecycle import judging
from tests.faults.lifecycle.aws import AwsFaults, Server, World
from tests.faults.lifecycle.cases import LIFECYCLE, Case, Recording
from tests.faults.lifecycle.points import Points
from tests.faults.lifecycle.processes import Orders, Process, start
from tests.faults.lifecycle.stages import Clients, Outcome, restore_by_hand, run_tasks, sweep
from tests.faults.lifecycle.virtual_time import real_monotonic

RUN_ID, NEXT_RUN_ID = "manual__1", "manual__2"
WHOLE_EVERY = 5  # so many cases have one with a whole run behind it
LAPSED_S = 4 * 3600.0  # by so much later the sweeper comes: no lease of the dead run can be valid any more


@dataclass(slots=True)
class Verdict:
    """How a case came out. `problems` is empty for one that was survived.

    Attributes:
        injected: faults of AWS that were really injected, deaths and foreign changes.
        unseen: foreign changes that fell between our reading and our writing of the field.
        restore_s: the longest time that restoring took, with the seconds that it would have slept.
    """

    case: Case
    problems: list[str] = field(default_factory=list)
    injected: int = 0
    unseen: int = 0
    twice: list[str] = field(default_factory=list)
    restore_s: float = 0.0
    run_s: float = 0.0


class Campaign:
    def __init__(self, world: World, clients: Clients, folder: Path) -> None:
        self._world, self._clients, self._folder = world, clients, folder

    def record(self) -> Recording:
        """One good run, one that is restored by hand, and one that is swept: what points there are."""
        good = self._one_good(LIFECYCLE, "")
        prescale_ends = self._one_good(LIFECYCLE[:2], "")
        by_hand = self._one_good(LIFECYCLE[:2], "hand")
        swept = self._one_good(LIFECYCLE[:2], "sweeper")
        return Recording(
            tuple(good[0].points),
            len(prescale_ends[0].points),
            tuple(by_hand[0].points),
            tuple(swept[0].points),
            good[0].operations,
            good[1],
        )

    def _one_good(self, stages: tuple[str, ...], way: str) -> tuple[Outcome, int]:
        """The outcome of the last process, and how many calls of AWS the case made."""
        case = Case("recording", stages)
        folder = self._new_folder(case)
        server = self._world.fork(folder / "aws.jsonl")
        try:
            outcome = self._start_tasks(folder, stages).wait()
            if way:
                outcome = self._start_restore(folder, way, Orders()).wait()
            if outcome is None or "failed" in outcome.states.values() or outcome.status:
                raise RuntimeError(f"the recording failed: {outcome}; see {folder}")
            return outcome, server.look()["calls"]
        finally:
            server.end()

    def run(self, case: Case) -> Verdict:
        """One case from a fresh environment to its verdict."""
        folder = self._new_folder(case)
        server = self._world.fork(folder / "aws.jsonl")
        verdict = Verdict(case)
        try:
            self._run(case, folder, server, verdict)
        except (TimeoutError, OSError, RuntimeError) as error:
            verdict.problems.append(f"{type(error).__name__}: {error}")
        finally:
            server.end()
        if not verdict.problems:
            shutil.rmtree(folder)
        return verdict

    def _run(self, case: Case, folder: Path, server: Server, verdict: Verdict) -> None:
        server.begin(case.aws)
        tasks = self._start_tasks(
            folder, case.stages, Orders(kill_at=case.kill_at, stop_at=case.stop_at, store=case.store)
        )
        began = real_monotonic()
        outcome = tasks.wait()
        if outcome is not None:
            verdict.run_s = real_monotonic() - began + outcome.slept_s
            verdict.injected += outcome.injected
            self._judge_run(case, outcome, verdict)
        verdict.injected += outcome is None
        server.begin(case.aws_again)
        said = self._go_on(case, folder, server, tasks, verdict)
        looked = server.look()
        verdict.injected += looked["injected"]
        self._judge(case, folder, looked, said, verdict)
        server.begin(AwsFaults())
        self._judge_repeated(folder, server, looked, verdict)
        self._judge_next_run(folder, server, looked, verdict, whole=case.number % WHOLE_EVERY == 0)

    # -- what happens

    def _start_tasks(
        self, folder: Path, stages: tuple[str, ...], orders: Orders | None = None, run_id: str = RUN_ID
    ) -> Process:
        name = f"tasks-{len(list(folder.glob('tasks-*.log'))) + 1}"
        progress = folder / "progress"

        def work(outcome: Outcome, points: Points) -> None:
            run_tasks(run_id, stages, outcome, progress, points)

        return start(self._clients, folder, name, work, orders)

    def _start_restore(self, folder: Path, way: str, orders: Orders) -> Process:
        number = len(list(folder.glob("restore-*.log"))) + 1
        if way == "sweeper":  # each comes hours behind the last, which renewed the lease
            return start(
                self._clients, folder, f"restore-{number}", lambda outcome, points: sweep(outcome),
                replace(orders, ahead_s=number * LAPSED_S),
            )  # fmt: skip
        return start(
            self._clients, folder, f"restore-{number}",
            lambda outcome, points: restore_by_hand(RUN_ID, outcome), orders,
        )  # fmt: skip

    def _go_on(self, case: Case, folder: Path, server: Server, tasks: Process, verdict: Verdict) -> str:
        """From the end (or the stop) of the tasks to a restored environment; returns what the last restore said.

        Whoever says that all is restored must be right before anybody else has a look.
        """
        if case.way == "retry":
            self._retry(case, folder, server, tasks, verdict)
        elif tasks.stopped:
            restoring = self._start_restore(folder, "hand", Orders(stop_at=case.stop_again_at))
            restored = restoring.wait()
            self._continue(tasks)
            if restoring.stopped:
                restoring.go_on()
                restored = restoring.wait()
            if restored is not None and restored.status == 0:
                self._judge_claim("the restore, with a task that goes on late,", server, "", verdict)
        if case.kill_again_at is not None:
            self._start_restore(folder, case.way, Orders(kill_at=case.kill_again_at)).wait()
            verdict.injected += 1
        if case.at_once > 1:
            together = [self._start_restore(folder, "hand", Orders()) for _ in range(case.at_once)]
            outcomes = [process.wait() for process in together]
            if all(outcome is not None and outcome.status == 0 for outcome in outcomes):
                self._judge_claim("two restores at once", server, "", verdict)
        said = ""
        if case.way == "sweeper":
            swept = self._restore(folder, "sweeper", Orders(), verdict)
            said = swept.said
            if swept.status == 0:
                self._judge_claim("the sweeper", server, said, verdict)
        return said + self._restore(folder, "hand", Orders(), verdict).said

    def _retry(self, case: Case, folder: Path, server: Server, tasks: Process, verdict: Verdict) -> None:
        """Airflow repeats the task that died (or was given up), and goes on behind it."""
        progress = folder / "progress"
        begun = progress.read_text().split()[-1] if progress.exists() else case.stages[0]
        rest = case.stages[case.stages.index(begun) :]
        retried = self._start_tasks(folder, rest).wait()
        if retried is None:
            raise RuntimeError("the retry died, see its log")
        if tasks.stopped:
            self._continue(tasks)
        elif retried.states.get("restore") == "success":
            self._judge_claim("the retry", server, "", verdict)

    def _judge_claim(self, who: str, server: Server, said: str, verdict: Verdict) -> None:
        looked = server.look()
        wrong = judging.judge_settings(self._world.pristine, looked["settings"], looked["events"], said)
        wrong += self._judge_running(looked)
        verdict.problems += [f"{who} says that all is restored, but {one}" for one in wrong]

    def _continue(self, tasks: Process) -> None:
        tasks.go_on()
        tasks.wait()

    def _restore(self, folder: Path, way: str, orders: Orders, verdict: Verdict) -> Outcome:
        """Restores until it says that it is done, as a person would; at most four times."""
        outcome = None
        for _ in range(4):
            began = real_monotonic()
            outcome = self._start_restore(folder, way, orders).wait()
            if outcome is None:
                raise RuntimeError(f"a process that restores died: see {folder}")
            verdict.restore_s = max(verdict.restore_s, real_monotonic() - began + outcome.slept_s)
            if outcome.status == 0:
                break
        assert outcome is not None
        return outcome

    # -- what must hold

    def _judge_run(self, case: Case, outcome: Outcome, verdict: Verdict) -> None:
        """Bad weather that passes must not make a run fail."""
        weather = case.aws.throttled or case.aws.failed or case.aws.lost or case.aws.cut
        if weather and not case.aws.foreign and "failed" in outcome.states.values():
            verdict.problems.append(f"the run failed: {outcome.states} {outcome.errors}")

    def _judge(self, case: Case, folder: Path, looked: dict[str, Any], said: str, verdict: Verdict) -> None:
        events = looked["events"]
        settings = looked["settings"]
        verdict.unseen = sum(change.unseen for change in judging.foreign_changes(events))
        verdict.problems += judging.judge_settings(self._world.pristine, settings, events, said)
        verdict.problems += self._judge_running(looked)
        if settings == self._world.pristine and "Not equal" in said:
            verdict.problems.append(f"everything is as before, but the restore says: {_end(said)}")
        if settings != self._world.pristine and "foreign" not in {event["who"] for event in events}:
            verdict.problems.append(f"not as before, and the restore says: {_end(said)}")
        root = ArtefactStore.open(str(folder / "store"))
        if (holder := claim_of(self._clients.environment, root)) is not None:
            verdict.problems.append(f"the environment is still held by {holder}; the restore said: {_end(said)}")
        if left := list(_names_below(root, "open-journals")):
            verdict.problems.append(f"markers of open journals are left: {left}")
        verdict.twice = judging.changes_made_twice(events)
        if case.at_once == 1 and case.stop_at is None:  # of two processes at once each may have looked before the other
            verdict.problems += verdict.twice

    def _judge_running(self, looked: dict[str, Any]) -> list[str]:
        """A restore waits until what runs is as before, too."""
        if looked["settings"] != self._world.pristine or looked["running"] == self._world.at_rest:
            return []
        return [f"what runs is {looked['running']} and was {self._world.at_rest}"]

    def _judge_repeated(self, folder: Path, server: Server, before: dict[str, Any], verdict: Verdict) -> None:
        self._start_restore(folder, "hand", Orders()).wait()
        after = server.look()
        new = [event for event in after["events"][len(before["events"]) :] if event["fields"]]
        if after["settings"] != before["settings"] or new:
            verdict.problems.append(f"restoring once more changed something: {new}")

    def _judge_next_run(
        self, folder: Path, server: Server, before: dict[str, Any], verdict: Verdict, *, whole: bool
    ) -> None:
        """A new run can simply be triggered, and leaves the environment as it found it. It takes the environment and
        its snapshot; only a `whole` one goes on, because it takes as long as the case."""
        stages = LIFECYCLE if whole else ("journal", "restore")
        outcome = self._start_tasks(folder, stages, run_id=NEXT_RUN_ID).wait()
        states = None if outcome is None else outcome.states
        if outcome is None or set(outcome.states.values()) != {"success"}:
            verdict.problems.append(f"the next run failed: {states} {outcome.errors if outcome else ''}")
        after = server.look()
        if after["settings"] != before["settings"]:
            verdict.problems.append(f"the next run left {judging_difference(before['settings'], after['settings'])}")

    def _new_folder(self, case: Case) -> Path:
        folder = self._folder / f"case-{case.number:04d}-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def _end(said: str) -> str:
    """The last lines of what a restore said, below its table."""
    return said.rpartition("\n\n")[2].strip()


def judging_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return json.dumps({name: [before.get(name), after.get(name)] for name in sorted(names)})


def _names_below(root: ArtefactStore, folder: str) -> Iterator[str]:
    for name in root.names(folder):
        if name.endswith(".json"):
            yield f"{folder}/{name}"
        else:
            yield from _names_below(root, f"{folder}/{name}")
