"""One run at a time holds an environment: by a lease, an object in the artefact store.

A pool of Airflow holds a task and not a run, and two installations may share an environment; both share the store. Of
two runs that take the lease at once one wins, by the store's conditional writes. The run's long tasks renew it; when
all of them are gone it lapses, and another run may have it once what the holder changed is restored.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from include.capacity.errors import GuardRefused, HeadroomError, InvalidData, StoreError
from include.capacity.guard.lease import LEASE_S, Lease, claimed, obstacle
from include.store.artefacts import ArtefactStore

log = logging.getLogger(__name__)

LOCKS = "environments"
ATTEMPTS = 20
RENEW_S = LEASE_S / 6
LOOK_S = 5.0  # between two looks at a lock that somebody else holds

Now = Callable[[], float]
Settled = Callable[[ArtefactStore, Mapping[str, str]], bool]
"""Tells, from the store's root and a run, whether what the run changed is restored, or it changed nothing."""


class Named(Protocol):
    @property
    def name(self) -> str:
        """Identifies the environment among all runs."""


def lock_path(environment: Named) -> str:
    return f"{LOCKS}/{environment.name}.json"


def lease_of(environment: Named, root: ArtefactStore) -> Lease | None:
    """The lease as it stands; None if there never was one. Raises InvalidData for one that cannot be read."""
    return _read(environment, root)[0]


def claim_of(environment: Named, root: ArtefactStore) -> dict[str, str] | None:
    """The run that holds the environment; None when it is free. Raises InvalidData for a lock that cannot be read."""
    lease = lease_of(environment, root)
    return None if lease is None or lease.run is None else dict(lease.run)


def hindrance(environment: Named, root: ArtefactStore, run: Mapping[str, str], settled: Settled) -> str | None:
    """Why the run cannot have the environment now, with the cure; None when it can."""
    lease = lease_of(environment, root)
    return _hindrance(lease, root, run, settled)


def wait_until_free(
    environment: Named,
    root: ArtefactStore,
    run: Mapping[str, str],
    settled: Settled,
    wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Returns, after the seconds it took, when the run can have the environment. Raises GuardRefused, with the reason,
    when it cannot within `wait_s`."""
    start, told = clock(), ""
    while (why := hindrance(environment, root, run, settled)) is not None:
        waited = clock() - start
        if waited >= wait_s:
            raise GuardRefused(f"{why} (Waited for {waited:.0f} s.)" if wait_s else why)
        holder = str(claim_of(environment, root))
        if holder != told:
            log.info("Waiting for up to %.0f s. %s", wait_s - waited, why)
            told = holder
        sleep(min(LOOK_S, wait_s - waited))
    return clock() - start


def take(
    environment: Named,
    root: ArtefactStore,
    run: Mapping[str, str],
    settled: Settled = lambda root, run: False,
    now: Now = time.time,
) -> Lease:
    """Takes the environment for a run that may hold it already. Raises GuardRefused when another run holds it."""
    for _ in range(ATTEMPTS):
        lease, version = _read(environment, root)
        if (why := _hindrance(lease, root, run, settled, now())) is not None:
            raise GuardRefused(why)
        if lease is not None and lease.run is not None and not lease.held_by(run):
            log.warning("The lease of run %r has lapsed and nothing of it is left: taken over.", lease.run)
        fresh = claimed(lease, environment.name, run, now())
        if _write(environment, root, fresh, version):
            return fresh
    raise StoreError(f"{_address(environment, root)} was changed by others {ATTEMPTS} times while it was taken.")


def renew(environment: Named, root: ArtefactStore, run: Mapping[str, str], now: Now = time.time) -> bool:
    """Prolongs the run's lease; False when the run does not hold the environment (any more)."""
    for _ in range(ATTEMPTS):
        lease, version = _read(environment, root)
        if lease is None or not lease.held_by(run):
            return False
        if _write(environment, root, lease.renewed(now()), version):
            return True
    raise StoreError(f"{_address(environment, root)} was changed by others {ATTEMPTS} times while it was renewed.")


def release(environment: Named, root: ArtefactStore, run: Mapping[str, str], now: Now = time.time) -> None:
    """Frees the environment if this run holds it. The object stays: its epoch goes on."""
    for _ in range(ATTEMPTS):
        lease, version = _read(environment, root)
        if lease is None or not lease.held_by(run):
            return
        if _write(environment, root, lease.freed(now()), version):
            return
    raise StoreError(f"{_address(environment, root)} was changed by others {ATTEMPTS} times while it was freed.")


def held_message(environment: Named, root: ArtefactStore) -> str:
    """Who holds the environment, and what to do."""
    lease = lease_of(environment, root)
    return _hindrance(lease, root, {}, lambda root, run: False) or f"The environment {environment.name} is free."


class Keeper:
    """Renews a run's lease from a thread of its own; `lost` says why the run does not hold the environment any more."""

    def __init__(self, environment: Named, root: ArtefactStore, run: Mapping[str, str], period_s: float) -> None:
        self._environment, self._root, self._run, self._period_s = environment, root, run, period_s
        self._ended = threading.Event()
        self.lost: str | None = None
        self._thread = threading.Thread(target=self._keep, name="environment lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(self._period_s)

    def _keep(self) -> None:
        while True:
            try:
                if not renew(self._environment, self._root, self._run):
                    self.lost = (
                        f"This run does not hold the environment {self._environment.name} any more, so it must not "
                        "load it: clear it from the task journal on to repeat it. "
                        f"{held_message(self._environment, self._root)}"
                    )
                    return
            except HeadroomError as error:  # the lease is long: the next beat tries again
                log.warning("The lease of the environment could not be renewed: %s", error)
            if self._ended.wait(self._period_s):
                return


@contextmanager
def holding(
    environment: Named, root: ArtefactStore, run: Mapping[str, str], period_s: float | None = None
) -> Iterator[Keeper]:
    """For the length of a task of the run that holds the environment: its lease is renewed."""
    keeper = Keeper(environment, root, run, period_s or RENEW_S)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.end()


def _hindrance(
    lease: Lease | None, root: ArtefactStore, run: Mapping[str, str], settled: Settled, now: float | None = None
) -> str | None:
    now = time.time() if now is None else now
    foreign = lease is not None and lease.run is not None and not lease.held_by(run)
    may_be_over = foreign and lease is not None and lease.lapsed(now)
    over = may_be_over and lease is not None and lease.run is not None and settled(root, lease.run)
    return obstacle(lease, run, now, settled=over)


def _read(environment: Named, root: ArtefactStore) -> tuple[Lease | None, str]:
    found = root.read_versioned(lock_path(environment))
    if found is None:
        return None, ""
    try:
        return Lease.loads(found[0]), found[1]
    except InvalidData as error:
        raise InvalidData(
            f"{_address(environment, root)} is not readable: {error}. If no run of this environment is under way or "
            "unrestored, delete this object."
        ) from None


def _write(environment: Named, root: ArtefactStore, lease: Lease, version: str) -> bool:
    """Whether the lease stands in the store: a writing whose answer was lost is found there."""
    path, data = lock_path(environment), lease.dumps()
    done = root.replace(path, data, version) if version else root.create(path, data, durable=True)
    return done or root.read_or_none(path) == data


def _address(environment: Named, root: ArtefactStore) -> str:
    return f"{root.url}/{lock_path(environment)}"
