"""From the start of the process to its exit code: prepare, run the shard's loop, end in order, keep the artefacts."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TypeVar

from include.capacity.errors import ConfigError, GuardRefused, InvalidData
from include.capacity.jtl.follow import JtlFollower
from include.capacity.protocol import (
    COMMAND_PATH,
    DISMISSED_PATH,
    SPEC_PATH,
    FleetSpec,
    ShardState,
    incarnation_folder,
    report_path,
)
from include.loadgen import jmeter
from include.loadgen.addresses import TURN_S, AddressBook
from include.loadgen.exits import End, ExitCode, ShardEnded
from include.loadgen.machine import Machine
from include.loadgen.mailbox import Background, Outbox, StoreWatch, poll_period_s
from include.loadgen.plan.prepare import prepare_plan
from include.loadgen.plan.settings import PlanSettings, PreparedPlan
from include.loadgen.planfiles import fetch_plan
from include.loadgen.reporting import Reporter, ShardFacts
from include.loadgen.results import KEEP_EVERY_S, ResultKeeper, ResultParts
from include.loadgen.settings import REPOSITORY, ShardSettings
from include.loadgen.shard import STEP_S, Clock, Identity, Shard
from include.store.artefacts import ArtefactStore

DISPATCHER_SCRIPT = REPOSITORY / "include" / "jmeter" / "arrivals.groovy"
PREPARED_PLAN = "prepared.jmx"
PLAN_NOTES = "plan-notes.json"
HOSTS = "hosts"

QUICK_COMPILER_MAX_RATE_PER_S = 500.0
"""Arrivals per second of a shard up to which the JVM's quick compiler is the better one."""

STORE_PATIENCE_S = 30.0  # how long a store may fail before the load has begun
FINAL_REPORT_S = 10.0
UPLOAD_S = 10.0
GRACE_S = 3.0
TERMINATED_GRACE_S = 1.0  # who terminates kills soon

_T = TypeVar("_T")
_TERMINATED = End(ExitCode.TERMINATED, "terminated by a signal")


class Program:
    """One start of a shard."""

    def __init__(self, settings: ShardSettings, store: ArtefactStore) -> None:
        self._settings, self._store = settings, store
        self._clock = Clock(machine=Machine().read)
        started_ns = time.time_ns()
        incarnation = f"{started_ns:020d}-{os.getpid()}"
        self._identity = Identity(settings.shard, incarnation, self._clock.monotonic())
        self._folder = incarnation_folder(settings.shard, incarnation)
        self._outbox = Outbox(store)
        self._follower = JtlFollower(jmeter.RESULTS)
        self._reporter = Reporter(settings.shard, incarnation, self._follower)
        self._keeper: ResultKeeper | None = None
        self._preparing = True
        self._terminated = False

    def run(self) -> int:
        """Returns the exit code. Whatever happens, no JMeter is left running."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            work = self._make_work_folder()
        except OSError as error:
            self._say(f"HEADROOM_WORK: no folder can be made there: {error}. Name one that is writable and not full.")
            return int(ExitCode.REFUSED)
        self._say(f"incarnation {self._identity.incarnation}, store {self._store.url}, work folder {work}")
        end, keep = End(ExitCode.UNEXPECTED, "unexpected error"), True
        try:
            end = self._run_in(work)
            keep = not self._upload(work)
        except ShardEnded as ended:
            end, keep = ended.end, False
            self._report_early_end(end)
        except Exception as error:
            end = _unexpected(error)
            self._say(traceback.format_exc())
            self._report_early_end(end)
        finally:
            if not keep:
                shutil.rmtree(work, ignore_errors=True)
            self._say(f"ends with exit code {int(end.code)}: {end.reason}")
        return int(end.code)

    def _run_in(self, work: Path) -> End:
        spec, leftover = self._read_spec()
        self._publish_now(self._facts("starting"))
        prepared, plan_folder = self._prepare(spec, work)
        self._preparing = False
        if self._terminated:
            raise ShardEnded(_TERMINATED)
        book = self._open_address_book(spec, work)
        parts = ResultParts(work / "parts")
        self._keeper = ResultKeeper(
            parts,
            self._store,
            shard=self._identity.shard,
            incarnation=self._identity.incarnation,
            monotonic=self._clock.monotonic,
        )
        engine = jmeter.JMeter(self._jmeter_start(spec, prepared, plan_folder, work), parts)
        self._say(f"JMeter started as process {engine.pid}")
        shard = Shard(
            self._identity,
            spec,
            engine,
            self._outbox,
            threads=sum(group.threads for group in prepared.groups),
            follower=self._follower,
            reporter=self._reporter,
            leftover=leftover,
            say=self._say,
            clock=self._clock,
            forbidden=lambda: book.refusal,
        )
        watch = StoreWatch(self._store, self._identity.shard, self._identity.incarnation, self._clock.monotonic)
        period = poll_period_s(self._store)
        background = (
            Background("store-watch", watch.poll, lambda stopped: stopped.wait(period)),
            Background("outbox", self._outbox.publish_next, lambda _: self._outbox.wait_for_work()),
            Background("results", self._keeper.step, lambda stopped: stopped.wait(KEEP_EVERY_S)),
            Background("addresses", book.step, lambda stopped: stopped.wait(TURN_S)),
        )
        for thread in background:
            thread.start()
        try:
            end = self._loop(shard, watch)
            self._say(f"ending: {end.reason}")
            shard.finish(end, TERMINATED_GRACE_S if end.code is ExitCode.TERMINATED else GRACE_S)
        finally:
            engine.kill()
            with contextlib.suppress(OSError):
                engine.close()
        if not self._outbox.wait_empty(FINAL_REPORT_S):
            self._say(f"the final report could not be published: {self._outbox.error}")
        for thread in background:
            thread.stop()
        self._say(f"{shard.transactions} transactions were read; {self._reporter.foreign} samples were not the user's")
        return end

    def _loop(self, shard: Shard, watch: StoreWatch) -> End:
        try:
            while not self._terminated:
                end = shard.step(watch.seen)
                if end is not None:
                    return end
                self._clock.sleep(STEP_S)
        except Exception as error:  # a mistake in this program: no load may outlive it
            self._say(traceback.format_exc())
            return _unexpected(error)
        return _TERMINATED

    # -- preparation --------------------------------------------------------------------------------------------------

    def _read_spec(self) -> tuple[FleetSpec, bytes | None]:
        """The fleet's specification, and the command that lies there already. Raises ShardEnded."""
        path = f"{self._store.url}/{SPEC_PATH}"
        try:
            if self._patiently(lambda: self._store.exists(DISMISSED_PATH)):
                raise ShardEnded(End(ExitCode.DISMISSED, "dismissed before the start"))
            spec = FleetSpec.loads(self._patiently(lambda: self._store.read(SPEC_PATH)))
            leftover = self._patiently(lambda: self._store.read_or_none(COMMAND_PATH))
        except FileNotFoundError:
            reason = f"{path} does not exist. Set HEADROOM_STORE to the run's folder."
            raise ShardEnded(End(ExitCode.REFUSED, reason)) from None
        except InvalidData as error:
            raise ShardEnded(End(ExitCode.REFUSED, f"{path}: {error}")) from None
        if self._identity.shard >= spec.shards:
            reason = (
                f"HEADROOM_SHARD is {self._identity.shard}, but the fleet has {spec.shards} shards (0 is the first)."
            )
            raise ShardEnded(End(ExitCode.REFUSED, reason))
        return spec, leftover

    def _prepare(self, spec: FleetSpec, work: Path) -> tuple[PreparedPlan, Path]:
        """Returns the prepared plan and the local folder of its files. Raises ShardEnded."""
        source = work / "source"
        plan = self._patiently(lambda: fetch_plan(self._store, spec.plan_path, spec.data_folder, source))
        folder = source / spec.data_folder
        settings = PlanSettings(
            threads=spec.threads_per_shard,
            dispatcher_script=DISPATCHER_SCRIPT,
            allow_hosts=spec.allow_hosts,
            weights=spec.weights,
            properties=_plan_properties(spec),
            plan_folder=folder,
            jmeter_home=self._settings.jmeter_home,
        )
        try:
            prepared = prepare_plan(plan, work / PREPARED_PLAN, settings=settings)
        except ConfigError as error:
            raise ShardEnded(End(ExitCode.REFUSED, f"plan refused: {error}")) from None
        notes = {
            "groups": [asdict(group) for group in prepared.groups],
            "notes": list(prepared.notes),
            "targets": list(prepared.targets),
            "data_files": [str(file.relative_to(source)) for file in prepared.data_files],
        }
        (work / PLAN_NOTES).write_text(json.dumps(notes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for note in prepared.notes:
            self._say(f"plan: {note}")
        return prepared, folder

    def _open_address_book(self, spec: FleetSpec, work: Path) -> AddressBook:
        """The names that the load may use, resolved. Raises ShardEnded when one of them leads off the list."""
        book = AddressBook(
            spec.addresses,
            spec.allow_addresses,
            work / HOSTS,
            turn=self._identity.shard,
            say=self._say,
            monotonic=self._clock.monotonic,
        )
        try:
            book.open()
        except GuardRefused as refused:
            raise ShardEnded(End(ExitCode.REFUSED, f"target refused: {refused}")) from None
        return book

    def _jmeter_start(
        self, spec: FleetSpec, prepared: PreparedPlan, plan_folder: Path, work: Path
    ) -> jmeter.JMeterStart:
        groups = sorted(prepared.groups, key=lambda group: group.index)
        return jmeter.JMeterStart(
            java=self._settings.java,
            home=self._settings.jmeter_home,
            plan=prepared.path,
            plan_folder=plan_folder,
            work=work,
            heap_mb=spec.heap_mb,
            quick_compiler=spec.max_rate_per_s / spec.shards <= QUICK_COMPILER_MAX_RATE_PER_S,
            properties=_plan_properties(spec),
            dispatcher={
                "script": str(DISPATCHER_SCRIPT),
                "groups": ",".join(f"{group.weight:.12g}" for group in groups),
                "gaps": spec.arrivals,
                "seed": str(stream_seed(spec.seed, self._identity.shard, self._identity.incarnation)),
                "max_rate": f"{spec.max_rate_per_s / spec.shards:.9f}",
            },
            arguments=prepared.jmeter_arguments,
            hosts=work / HOSTS if spec.addresses else None,
        )

    def _patiently(self, access: Callable[[], _T]) -> _T:
        """Tries an access to the store again for a while; FileNotFoundError and InvalidData pass at once."""
        deadline = self._clock.monotonic() + STORE_PATIENCE_S
        while True:
            try:
                return access()
            except (FileNotFoundError, InvalidData, ShardEnded):
                raise
            except Exception as error:  # remote stores raise errors of many families
                if self._clock.monotonic() > deadline:
                    reason = f"the store fails for {STORE_PATIENCE_S:g} s: {error}"
                    raise ShardEnded(End(ExitCode.NO_STORE, reason)) from None
                self._say(f"the store fails, trying again: {error}")
                self._clock.sleep(1.0)

    # -- ending -------------------------------------------------------------------------------------------------------

    def _report_early_end(self, end: End) -> None:
        """The conductor reads the final report, the person the log; the store may be what failed."""
        try:
            self._publish_now(replace(self._facts("ending"), final=True, end_reason=end.reason))
        except Exception as error:
            self._say(f"the final report could not be published: {error}")

    def _facts(self, state: ShardState) -> ShardFacts:
        """Of a shard that has no command yet."""
        clock = self._clock
        return ShardFacts(
            clock.wall(), clock.monotonic(), clock.cpu(), state, command=(0, 0), guard="", machine=clock.machine()
        )

    def _publish_now(self, facts: ShardFacts) -> None:
        report = self._reporter.build(facts, None)
        self._store.write(report_path(report.shard, report.incarnation, report.number), report.dumps())

    def _upload(self, work: Path) -> bool:
        """Keeps what explains the run. Returns whether all of it is in the store."""
        wanted = [jmeter.LOG, jmeter.CONSOLE, PREPARED_PLAN, PLAN_NOTES]
        files = [work / name for name in wanted if (work / name).exists()]
        failures: list[str] = []

        def upload() -> None:
            for file in files:
                attempt(lambda file=file: self._store.upload(str(file), f"{self._folder}/{file.name}"))  # type: ignore[misc]
            if self._keeper is not None:
                attempt(self._keeper.keep)

        def attempt(step: Callable[[], None]) -> None:
            try:
                step()
            except Exception as error:
                failures.append(str(error))

        # A daemon thread, so that a store that hangs cannot keep the shard alive.
        thread = threading.Thread(target=upload, daemon=True)
        thread.start()
        thread.join(UPLOAD_S)
        if thread.is_alive():
            failures.append(f"the store needs more than {UPLOAD_S:g} s")
        for failure in failures:
            self._say(f"not all files could be kept ({work} still has them): {failure}")
        return not failures

    def _make_work_folder(self) -> Path:
        parent = self._settings.work
        if parent is None:
            return Path(tempfile.mkdtemp(prefix="headroom-shard-"))
        work = parent / self._identity.incarnation
        work.mkdir(parents=True)
        return work.resolve()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True
        if self._preparing:  # nothing runs yet that has to be ended
            self._preparing = False
            raise ShardEnded(_TERMINATED)

    def _say(self, text: str) -> None:
        stamp = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        with contextlib.suppress(OSError):  # who reads the log may be gone; the load must still end in order
            print(f"{stamp} shard {self._identity.shard}: {text}", flush=True)


def _unexpected(error: Exception) -> End:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return End(ExitCode.DISK_FULL, f"disk full in the work folder: {error}", at_once=True)
    return End(ExitCode.UNEXPECTED, f"unexpected error: {error!r}", at_once=True)


def stream_seed(seed: int, shard: int, incarnation: str) -> int:
    """A repeated run draws other arrivals when its seed differs, and so do shards and restarts within a run."""
    digest = hashlib.blake2b(f"{seed}/{shard}/{incarnation}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def _plan_properties(spec: FleetSpec) -> Mapping[str, str]:
    target = {"host": spec.target_host, "port": str(spec.target_port), "scheme": spec.target_scheme}
    return {**spec.properties, **target}
