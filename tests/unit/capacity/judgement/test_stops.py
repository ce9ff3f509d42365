from include.capacity.judgement.stops import GUARD, OVERLOAD, is_stop, stop
from include.capacity.models import HOLD_COMPLETE


def test_a_stop_is_understood_again() -> None:
    assert is_stop(stop(OVERLOAD, "x"), OVERLOAD)
    assert not is_stop(stop(OVERLOAD, "x"), GUARD)
    assert not is_stop(HOLD_COMPLETE, OVERLOAD)
