"""What is remembered of earlier rows."""

from __future__ import annotations

from include.capacity.jtl.seconds import ArrivalMemory, ThreadMemory


def test_the_memory_of_arrivals_is_bounded_and_forgets_the_longest_unseen() -> None:
    memory = ArrivalMemory(size=3)
    assert [memory.is_first(number) for number in (1, 2, 3)] == [True, True, True]
    assert not memory.is_first(1)  # and it is now the one seen last
    assert memory.is_first(4)  # 2 is forgotten
    assert [memory.is_first(number) for number in (1, 3, 4)] == [False, False, False]
    assert memory.is_first(2)


def test_a_controller_repeats_the_rows_that_began_within_it() -> None:
    memory = ThreadMemory()
    assert not memory.repeats("t", 100, 10, controller=True)  # the thread's first row
    assert not memory.repeats("t", 110, 10, controller=True)  # one sample each
    assert not memory.repeats("t", 120, 5, controller=False)
    assert memory.repeats("t", 120, 4, controller=True)  # pauses within it do not count in its time
    assert not memory.repeats("other", 120, 4, controller=True)
