"""The peers on a queue whose maximum is known, and what the table makes of their answers."""

import json
import math
from dataclasses import replace

import pytest

from benchmarks.search_peers.algorithms import PEERS
from benchmarks.search_peers.load import Load
from benchmarks.search_table import HEADINGS, Row, line, markdown, quantile, seconds_of
from include.capacity.models import Slo, SloCondition
from tests.simulators.cases import Case
from tests.simulators.service import Instance, Service
from tests.simulators.systems import System

MEAN_S, LIMIT_S = 0.02, 0.3
# the 95th percentile of an M/M/1 queue is ln(20) / (service rate - arrival rate)
TRUTH_TPS = 1 / MEAN_S - math.log(20) / LIMIT_S


def known(upper_tps: float = 100.0, **more: float) -> Case:
    slo = Slo((SloCondition("latency_p95_ms", LIMIT_S * 1e3), SloCondition("error_ratio", 0.01)))
    service = replace(Service((Instance(1),), MEAN_S), **more)  # type: ignore[arg-type]
    return Case(System("known", 1, service, slo, 1 / MEAN_S), TRUTH_TPS, 0.005, 3.0, upper_tps)


@pytest.mark.parametrize("name", PEERS)
def test_each_peer_finds_about_the_maximum_of_a_queue(name: str) -> None:
    load = Load(known(), seed=2)
    answer = PEERS[name](load)
    assert answer.tps is not None
    assert 0.7 * TRUTH_TPS < answer.tps < (2.2 if name == "k6 breakpoint" else 1.25) * TRUTH_TPS
    load_s, far_s = seconds_of(load.seconds, TRUTH_TPS)
    assert 0 <= far_s < load_s < 6000


@pytest.mark.parametrize("name", PEERS)
def test_each_peer_ends_where_nothing_breaks(name: str) -> None:
    answer = PEERS[name](Load(known(upper_tps=20.0)))
    assert answer.bound == "at_least"
    assert answer.tps == pytest.approx(20.0, rel=0.1)


@pytest.mark.parametrize("name", sorted(set(PEERS) - {"k6 breakpoint"}))
def test_each_peer_ends_where_nothing_holds(name: str) -> None:
    assert PEERS[name](Load(known(error_ratio=0.5))).tps is None


def test_errors_count_as_the_table_says() -> None:
    rows = [
        Row("ours", "mgc", 1, 100.0, 104.0, 400.0, 2.0, low_tps=98.0, high_tps=108.0),
        Row("ours", "mgc", 2, 100.0, 106.0, 500.0, 0.0, low_tps=101.0, high_tps=109.0),
        Row("ours", "mgc", 3, 100.0, 88.0, 600.0, 0.0, low_tps=80.0, high_tps=96.0),
        Row("ours", "mgc", 4, 100.0, None, 700.0, 4.0, bound="at_most", high_tps=120.0),
        Row("ours", "mgc", 5, 100.0, 300.0, 300.0, 4.0, bound="at_least", low_tps=280.0),
    ]
    made = dict(zip(HEADINGS, line("ours", rows, 5000.0), strict=True))
    assert (made["median error %"], made["p90 error %"]) == ("6.0", "12.0")
    assert made["bias %"] == "-0.7"
    assert (made["> 5 % high"], made["> 10 % high"], made["> 10 % low"]) == ("20.0 %", "0.0 %", "20.0 %")
    assert (made["load s p50"], made["mean"], made["load ratio"]) == ("500", "500", "10.0%")
    assert (made["covered"], made["s beyond 1.2 x"]) == ("40.0%", "2.0")
    assert (made["no number"], made["bound only"]) == ("20.0 %", "20.0 %")
    assert len(markdown([line("ours", rows, None)]).splitlines()) == 3
    assert json.dumps(made)


def test_quantiles_of_few_values() -> None:
    assert [quantile([3.0, 1.0, 2.0], q) for q in (0.0, 0.33, 0.5, 0.9, 1.0)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert math.isnan(quantile([], 0.5))
