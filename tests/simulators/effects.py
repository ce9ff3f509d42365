"""What can be true of a service besides its size; each effect draws its parameters and adds them to a draft.

The ranges are meant to be those of real services: how long pools, pauses, spells and credits last is drawn relative to
the service's own rate and service time, so that each effect matters at some systems and hardly at others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.simulators.service import (
    BIMODAL,
    CONSTANT,
    ERLANG,
    EXPONENTIAL,
    FEWER_OPEN_OF_TWO,
    FEWEST_OPEN,
    LOGNORMAL,
    PARETO,
    RANDOM,
    ROUND_ROBIN,
    UNIFORM,
    Instance,
    Service,
)


class Dice:
    """Random choices from a seed."""

    def __init__(self, *seed: int) -> None:
        self._rng = np.random.default_rng(list(seed))

    def between(self, low: float, high: float) -> float:
        return _short(low + (high - low) * float(self._rng.random()))

    def spread(self, low: float, high: float) -> float:
        """Log-uniform."""
        return _short(low * math.exp(math.log(high / low) * float(self._rng.random())))

    def chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def one(self, choices: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        shares = None if weights is None else np.asarray(weights) / sum(weights)
        return choices[int(self._rng.choice(len(choices), p=shares))]

    def whole(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self._rng.integers(low, high + 1))


def _short(value: float) -> float:
    """Four digits: the same on every machine, whatever its mathematical library makes of the last bit."""
    return float(f"{value:.4g}")


@dataclass(slots=True)
class Draft:
    """A service in the making.

    Attributes:
        tps: the rate at which its slots are busy all the time, before effects.
        mean_s: service time; instances, slots: how many, and how many slots each.
    """

    tps: float
    mean_s: float
    instances: int
    slots: int
    slowness: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def own_tps(self) -> float:
        """Of one instance."""
        return self.tps / self.instances

    def resize(self, slots: int, mean_s: float) -> None:
        self.slots, self.mean_s = slots, mean_s

    def service(self) -> Service:
        slowness = self.slowness or [1.0] * self.instances
        weights = self.weights or [1.0] * self.instances
        each = zip(slowness, weights, strict=True)
        return Service(tuple(Instance(self.slots, slow, weight) for slow, weight in each), self.mean_s, **self.more)


Effect = Callable[[Draft, Dice], None]


def plain(dice: Dice, *, slots: tuple[int, int] = (1, 600)) -> Draft:
    """Any size, from one slot on one machine to hundreds on eight."""
    tps = dice.spread(22, 6000)
    wanted = tps * dice.spread(0.004, 0.3)
    instances = dice.one((1, 2, 3, 4, 6, 8), (5, 4, 3, 3, 2, 1))
    per_instance = round(min(max(wanted / instances, slots[0]), max(slots[1] / instances, slots[0])))
    per_instance = max(per_instance, 1)
    draft = Draft(tps, instances * per_instance / tps, instances, per_instance)
    draft.more["network_s"] = dice.between(0.0003, 0.003)
    draft.more["policy"] = dice.one((RANDOM, ROUND_ROBIN, FEWEST_OPEN, FEWER_OPEN_OF_TWO))
    _law(draft, dice)
    return draft


def _law(draft: Draft, dice: Dice) -> None:
    law = dice.one((CONSTANT, EXPONENTIAL, LOGNORMAL, UNIFORM, PARETO, ERLANG), (1, 4, 6, 2, 1, 2))
    shape = {
        LOGNORMAL: dice.spread(0.2, 2.2),
        UNIFORM: dice.between(0.3, 0.95),
        PARETO: dice.between(1.7, 3.0),
        ERLANG: float(dice.whole(2, 6)),
    }.get(law, 1.0)
    draft.more.update(law=law, shape=shape)


def general_queue(draft: Draft, dice: Dice) -> None:
    """Nothing but the queue; sometimes a short one."""
    if dice.chance(0.25):
        draft.more["queue_limit"] = float(round(draft.slots * dice.spread(1.0, 8.0) + 2))


def bimodal(draft: Draft, dice: Dice) -> None:
    draft.more.update(law=BIMODAL, rare_share=dice.spread(0.01, 0.3), rare_factor=dice.spread(4, 40))


def contention(draft: Draft, dice: Dice) -> None:
    """Beyond `best` requests at a time the instance does less, not more."""
    best = min(dice.spread(6, 120), max(draft.own_tps * 0.4, 4.0))
    share = dice.spread(0.002, 0.08)
    coherence = (1 - share) / best**2
    stretch = 1 + (share + coherence * best) * (best - 1)
    draft.more.update(usl_contention=share, usl_coherence=coherence)
    draft.resize(max(round(best * dice.spread(1.0, 4.0)), 2), best / (draft.own_tps * stretch))


def pool(draft: Draft, dice: Dice) -> None:
    connections = max(1, min(round(draft.own_tps * dice.spread(0.005, 0.1)), dice.whole(4, 40)))
    held_s = connections / draft.own_tps
    work_s = held_s * dice.spread(0.2, 3.0)
    threads = round(connections * (1 + work_s / held_s) * dice.spread(1.3, 6.0)) + 2
    draft.resize(threads, work_s)
    draft.more.update(pool_slots=connections, pool_mean_s=held_s, pool_cv=dice.spread(0.3, 1.8))
    if dice.chance(0.4):
        draft.more["pool_contention"] = dice.spread(0.2, 1.0) / connections
    if dice.chance(0.4):
        draft.more["pool_max_wait_s"] = held_s * dice.spread(10, 80)


def gc_pauses(draft: Draft, dice: Dice) -> None:
    minor_s = dice.spread(0.003, 0.06)
    draft.more.update(
        minor_gc_every=max(draft.own_tps * dice.spread(0.5, 6.0), 5.0),
        minor_gc_s=minor_s,
        gc_cv=dice.between(0.1, 0.8),
    )
    if dice.chance(0.5):
        draft.more.update(
            major_gc_every=draft.own_tps * dice.spread(20, 150), major_gc_s=min(minor_s * dice.spread(5, 40), 1.5)
        )


def warm_up(draft: Draft, dice: Dice) -> None:
    draft.more["cold_factor"] = dice.spread(1.5, 6.0)
    lasts_s = dice.spread(4, 35)
    if dice.chance(0.5):
        draft.more["warm_up_s"] = lasts_s
    else:
        draft.more["warm_up_requests"] = lasts_s * draft.own_tps * 0.4


def leak(draft: Draft, dice: Dice) -> None:
    """Over a quarter of an hour it loses 2 to 25 % of what it can do."""
    loss = dice.spread(0.02, 0.25)
    kind = dice.one(("requests", "time", "slots"))
    if kind == "slots" and draft.slots >= 12:
        draft.more["lose_slot_every"] = 900 * draft.own_tps / max(loss * draft.slots, 1.0)
    elif kind == "time":
        draft.more["leak_s"] = 900 / loss
    else:
        draft.more["leak_requests"] = 900 * draft.own_tps / loss


def noisy_neighbour(draft: Draft, dice: Dice) -> None:
    on_s = dice.spread(2, 40)
    draft.more.update(
        noisy_on_s=on_s,
        noisy_off_s=on_s * dice.spread(1.5, 12),
        noisy_factor=dice.spread(1.1, 2.2),
        noisy_together=dice.chance(0.5),
        noisy_regular=dice.chance(0.3),
    )


def cliff(draft: Draft, dice: Dice) -> None:
    draft.more["cliff_open"] = float(max(round(draft.slots * dice.spread(0.7, 4.0)), 3))
    kind = dice.one(("slow", "errors", "both"))
    if kind != "errors":
        draft.more["cliff_factor"] = dice.spread(1.4, 4.0)
    if kind != "slow":
        draft.more["cliff_error_ratio"] = dice.spread(0.05, 0.6)


def hysteresis(draft: Draft, dice: Dice) -> None:
    if dice.chance(0.5):
        trip = max(round(draft.slots * dice.spread(1.3, 6.0)), 4)
        draft.more.update(
            trip_open=float(trip),
            reset_open=float(max(round(trip * dice.between(0.1, 0.7)), 1)),
            tripped_factor=dice.spread(1.2, 3.0),
        )
        return
    fill = max(draft.tps * dice.spread(2, 10), 40.0)
    draft.more.update(
        cache_cost=dice.spread(0.4, 4.0),
        cache_fill_requests=fill,
        cache_spill_requests=fill * dice.spread(0.2, 1.5),
        cache_wait_s=max(draft.mean_s, 0.01) * dice.spread(2, 12),
    )


def retry_storm(draft: Draft, dice: Dice) -> None:
    draft.more.update(
        retries=dice.whole(1, 4),
        try_timeout_s=max(draft.mean_s * dice.spread(6, 40), 0.05),
        backoff_s=dice.spread(0.02, 1.0),
    )
    if dice.chance(0.4):
        draft.more["queue_limit"] = float(round(draft.slots * dice.spread(1.0, 8.0) + 2))


def rate_limiter(draft: Draft, dice: Dice) -> None:
    limit = draft.tps * dice.spread(0.3, 1.05)
    draft.more["limit_tps"] = limit
    draft.more["reject_s"] = dice.spread(0.001, 0.01)
    kind = dice.one(("bucket", "window", "delay"), (3, 2, 1))
    if kind == "window":
        draft.more["limit_window_s"] = dice.one((1.0, 2.0, 10.0, 30.0, 60.0))
        return
    draft.more["limit_burst"] = max(limit * dice.spread(0.1, 40), 3.0)
    if kind == "delay":
        draft.more["limit_delay_s"] = dice.spread(0.05, 1.5)


def burst_credits(draft: Draft, dice: Dice) -> None:
    earn = dice.between(0.25, 0.8)
    draft.more.update(
        credit_s=draft.slots * (1 - earn) * dice.spread(20, 400),
        credit_first=dice.between(0.2, 1.0),
        credit_earn=earn,
        spent_factor=dice.between(0.85, 1.15) / earn,
    )


def uneven_instances(draft: Draft, dice: Dice) -> None:
    total = draft.instances * draft.slots
    draft.instances = dice.whole(2, 10)
    draft.slots = max(round(total / draft.instances), 1)
    draft.slowness = [dice.between(0.9, 1.1) for _ in range(draft.instances)]
    for slow in range(max(1, round(draft.instances * dice.between(0.05, 0.4)))):
        draft.slowness[slow] = dice.spread(1.2, 3.0)
    draft.mean_s = sum(draft.slots / slow for slow in draft.slowness) / draft.tps
    if dice.chance(0.3):
        draft.weights = [dice.between(0.7, 1.4) for _ in range(draft.instances)]


def client_timeouts(draft: Draft, dice: Dice) -> None:
    draft.more["timeout_s"] = max(draft.mean_s * dice.spread(6, 60), 0.03)
    if dice.chance(0.4):
        draft.more["max_wait_s"] = draft.more["timeout_s"] * dice.between(0.3, 1.5)


MIXABLE: tuple[Effect, ...] = (
    general_queue,
    bimodal,
    contention,
    pool,
    gc_pauses,
    warm_up,
    leak,
    noisy_neighbour,
    cliff,
    hysteresis,
    retry_storm,
    rate_limiter,
    burst_credits,
    uneven_instances,
    client_timeouts,
)
# these set the sizes for themselves: they come first, and only one of them
SIZING: tuple[Effect, ...] = (contention, pool, uneven_instances)


def mixed(draft: Draft, dice: Dice) -> None:
    """Two or three of them."""
    chosen: list[Effect] = []
    wanted = dice.whole(2, 3)
    while len(chosen) < wanted:
        effect = dice.one(MIXABLE)
        if effect not in chosen and not (effect in SIZING and any(each in SIZING for each in chosen)):
            chosen.append(effect)
    for effect in sorted(chosen, key=lambda each: (each not in SIZING, MIXABLE.index(each))):
        effect(draft, dice)
