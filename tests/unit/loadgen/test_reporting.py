"""Reports give every count exactly once."""

from __future__ import annotations

from dataclasses import replace

from include.capacity.jtl.follow import JtlFollower
from include.capacity.protocol import Counters, ShardReport
from include.loadgen.engine import DispatcherOrder
from include.loadgen.reporting import Reporter, ShardFacts
from tests.unit.loadgen.fakes import HEADER, START, FakeEngine, FakeTime


def facts(now: float, **changes: object) -> ShardFacts:
    base = ShardFacts(
        now=now, monotonic_s=now - START, cpu_s=0.1 * (now - START), state="ready", command=(1001, 4), guard=""
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_reports_are_numbered_and_survive_their_encoding() -> None:
    time = FakeTime()
    engine = FakeEngine(time)
    reporter = Reporter(3, "inc", JtlFollower("results.jtl"))
    reports = [reporter.build(facts(time.wall), engine.status()) for _ in range(3)]
    assert [report.number for report in reports] == [0, 1, 2]
    assert ShardReport.loads(reports[2].dumps()) == reports[2]


def test_arrivals_of_a_second_are_told_as_they_come() -> None:
    time = FakeTime()
    engine = FakeEngine(time)
    reporter = Reporter(0, "inc", JtlFollower("results.jtl"))
    told = []
    for offered in ({10: 4}, {10: 7, 11: 2}, {10: 7, 11: 2}, {11: 5, 500: 1}, {500: 3}):
        engine.offered = offered
        told.append(dict(reporter.build(facts(time.wall), engine.status()).offered))
    assert told == [{10: 4}, {10: 3, 11: 2}, {}, {11: 3, 500: 1}, {500: 2}]


def test_transactions_and_rejects_are_told_once() -> None:
    follower = JtlFollower("results.jtl")
    reporter = Reporter(0, "inc", follower)
    follower.feed(HEADER + b"1700000000000,10,GET /,200,OK,true,5,1:400\nnonsense\n")
    first = reporter.build(facts(START), None)
    second = reporter.build(facts(START + 1), None)
    assert (first.completed, first.rejected, len(first.rows), len(first.lag)) == ({1_700_000_000: 1}, 1, 1, 1)
    assert (second.completed, second.rejected, second.rows, second.lag) == ({}, 0, (), {})
    assert first.rejects[0].startswith("results.jtl, line 3")


def test_health_is_that_of_the_interval() -> None:
    time = FakeTime()
    engine = FakeEngine(time)
    reporter = Reporter(0, "inc", JtlFollower("results.jtl"))
    reporter.build(facts(time.wall), engine.status())
    time.advance(2.0)
    health = reporter.build(facts(time.wall), engine.status()).generator
    assert (health.jmeter_cpu_cores, health.shard_cpu_cores, health.gc_ratio) == (0.5, 0.1, 0.02)
    assert (health.heap_used_mb, health.heap_max_mb, health.open_fds, health.max_fds) == (100, 384, 40, 1024)


def test_counts_of_an_earlier_second_bear_its_time() -> None:
    """The conductor takes every second before `published_at` as complete."""
    time = FakeTime()
    engine = FakeEngine(time)
    status = engine.status()
    assert status is not None
    reporter = Reporter(0, "inc", JtlFollower("results.jtl"))
    assert reporter.build(facts(START + 0.9), status).published_at == START + 0.9
    assert reporter.build(facts(START + 1.1), status).published_at == START
    assert reporter.build(facts(START + 1.1, final=True, end_reason="x"), status).published_at == START + 1.1


def test_in_force_is_unknown_before_the_first_command() -> None:
    time = FakeTime()
    engine = FakeEngine(time)
    engine.tell(DispatcherOrder((0, 0), 0.0))
    reporter = Reporter(0, "inc", JtlFollower("results.jtl"))
    assert reporter.build(facts(START, command=(0, 0)), engine.status()).in_force_at is None
    engine.tell(DispatcherOrder((1001, 4), 12.5))
    report = reporter.build(facts(START), engine.status())
    assert (report.in_force_at, report.rate_per_s) == (START, 12.5)


def test_the_final_report_has_no_rate() -> None:
    time = FakeTime()
    engine = FakeEngine(time, counters=Counters(threads=1, dispatched=9, taken=9, completed=9))
    engine.tell(DispatcherOrder((1001, 4), 12.5))
    reporter = Reporter(0, "inc", JtlFollower("results.jtl"))
    report = reporter.build(facts(START, final=True, end_reason="dismissed", state="ending"), engine.status())
    assert (report.rate_per_s, report.final, report.end_reason, report.state) == (0.0, True, "dismissed", "ending")
    assert report.counters.dispatched == 9
