import json
from dataclasses import replace

from include.capacity import codec
from include.capacity.models import Done
from include.capacity.search.decision import next_step
from include.capacity.search.replay import differences, replay
from tests.unit.capacity.examples import SLO, result
from tests.unit.capacity.search.histories import passes_below, play
from tests.unit.capacity.simulators.driver import SETTINGS


def test_stored_probes_give_the_same_decisions() -> None:
    answer, history = play(passes_below(150))
    stored = [codec.probe_from_json(json.loads(json.dumps(codec.probe_to_json(each)))) for each in history]
    pairs = replay(SETTINGS, SLO, [result("smoke", 5.0, True), *stored])
    assert len(pairs) == len(history) + 1
    assert differences(pairs) == []
    assert pairs[-1] == (Done(answer), None)


def test_a_changed_probe_shows_as_a_difference() -> None:
    _, history = play(passes_below(150))
    changed = [*history[:3], replace(history[3], sustainable=False), *history[4:]]
    assert differences(replay(SETTINGS, SLO, changed))[0] == 4


def test_a_search_goes_on_where_it_was_interrupted() -> None:
    answer, history = play(passes_below(150))
    for cut in range(len(history)):
        assert next_step(SETTINGS, SLO, history[:cut]) == history[cut].step
    assert play(passes_below(150), history=history[: len(history) // 2])[0] == answer
