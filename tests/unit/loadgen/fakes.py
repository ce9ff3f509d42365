"""Stand-ins for the clock, the load engine and a store that fails."""

from __future__ import annotations

from dataclasses import dataclass, field

from include.capacity.errors import StoreError
from include.capacity.protocol import Command, Counters, FleetSpec
from include.loadgen.engine import DispatcherOrder, DispatcherStatus
from include.loadgen.shard import Clock

START = 1_700_000_000.0
"""Wall clock at which every test begins; the monotonic clock then shows 100."""

HEADER = b'timeStamp,elapsed,label,responseCode,responseMessage,success,bytes,"headroom_arrival"\n'


@dataclass
class FakeTime:
    monotonic: float = 100.0

    def advance(self, seconds: float) -> None:
        self.monotonic += seconds

    @property
    def wall(self) -> float:
        return START + self.monotonic - 100.0

    def clock(self) -> Clock:
        return Clock(lambda: self.monotonic, lambda: self.wall, lambda: 0.1 * self.monotonic, sleep=self.advance)


@dataclass
class FakeEngine:
    """A JMeter that takes every order at once and whose results are given by the test."""

    time: FakeTime
    threads: int = 10
    counters: Counters = field(default_factory=Counters)
    offered: dict[int, int] = field(default_factory=dict)
    orders: list[DispatcherOrder] = field(default_factory=list)
    pending: list[bytes] = field(default_factory=list)
    code: int | None = None
    free: int = 10 << 30
    silent: bool = False
    tell_error: OSError | None = None
    killed: bool = False
    ends_when_told: bool = True
    _last: DispatcherStatus | None = None

    @property
    def rate(self) -> float:
        """The rate of the last order."""
        return self.orders[-1].rate_per_s if self.orders else 0.0

    def exit_code(self) -> int | None:
        return self.code

    def tell(self, order: DispatcherOrder) -> None:
        if self.tell_error is not None:
            raise self.tell_error
        self.orders.append(order)

    def status(self) -> DispatcherStatus | None:
        if not self.silent:
            order = self.orders[-1] if self.orders else DispatcherOrder((0, 0), 0.0)
            counters = self.counters if self.counters.threads else Counters(threads=self.threads)
            self._last = DispatcherStatus(
                at=self.time.wall,
                order=order.order,
                rate_per_s=order.rate_per_s,
                in_force_at=self.time.wall if self.orders else 0.0,
                counters=counters,
                offered=dict(self.offered),
                cpu_s=0.5 * self.time.monotonic,
                gc_s=0.02 * self.time.monotonic,
                heap_used=100 << 20,
                heap_max=384 << 20,
                open_fds=40,
                max_fds=1024,
            )
        return self._last

    def results(self) -> bytes:
        return self.pending.pop(0) if self.pending else b""

    def wait(self, timeout_s: float) -> bool:
        if self.ends_when_told:
            self.code = 0
        else:
            self.time.advance(timeout_s)
        return self.code is not None

    def kill(self) -> None:
        self.killed = True
        self.code = -9 if self.code is None else self.code

    def last_words(self) -> str:
        return "ERROR o.a.j.JMeter: its last words"

    def free_bytes(self) -> int:
        return self.free

    def add_rows(self, count: int, *, failed: int = 0, first: int = 1) -> None:
        """Transactions that ended just now, the first `failed` of them with a 500."""
        rows = b"".join(
            f"{int(self.time.wall * 1000) - 20},20,GET /,{500 if number < failed else 200},x,"
            f"{'false' if number < failed else 'true'},10,{first + number}:300\n".encode()
            for number in range(count)
        )
        self.pending.append(rows)


class FailingStore:
    """Wraps a store; while `broken`, each access raises. Counts the accesses."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.broken = False
        self.error: Exception = StoreError("the store is away")

    def __getattr__(self, name: str) -> object:
        method = getattr(self._store, name)
        if not callable(method):
            return method

        def access(*args: object, **kwargs: object) -> object:
            if self.broken:
                raise self.error
            return method(*args, **kwargs)

        return access


def spec(**changes: object) -> FleetSpec:
    settings: dict[str, object] = {
        "shards": 2,
        "threads_per_shard": 10,
        "plan_path": "plan/plan.jmx",
        "data_folder": "plan",
        "target_scheme": "http",
        "target_host": "127.0.0.1",
        "target_port": 80,
        "allow_hosts": ("127.0.0.1",),
        "properties": {},
        "weights": {},
        "arrivals": "poisson",
        "seed": 1,
        "max_rate_per_s": 1000.0,
        "max_error_ratio": 0.5,
        "guard_window_s": 3.0,
        "max_in_flight": 100,
        "idle_limit_s": 60.0,
        "hard_limit_s": 600.0,
    }
    return FleetSpec(**{**settings, **changes})  # type: ignore[arg-type]


def command(seq: int, rate_per_s: float, *, epoch: int = 1001, lease_s: float = 3.0) -> bytes:
    return Command(epoch, seq, rate_per_s, lease_s, START, "search").dumps()
