"""Reads what a run has stored so far: its probes, the running hold, its result."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.capacity.codec import probe_from_json
from include.capacity.errors import InvalidData
from include.capacity.models import ProbeResult


def run_key(run_id: str) -> str:
    """The name of a run's folder."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)


@dataclass(frozen=True, slots=True)
class Hold:
    """The hold that runs now; rates in TPS, None where nothing was counted yet."""

    stage: str
    kind: str
    rate_tps: float
    elapsed_s: float
    hold_s: float
    offered_tps: float | None
    achieved_tps: float | None
    p95_ms: float | None
    in_flight: int | None


class RunArtefacts:
    """The folder of one run in a local artefact store."""

    def __init__(self, build: Path, service: str, run_id: str) -> None:
        self.folder = build / "artefacts" / service / run_key(run_id)
        self._seen: set[Path] = set()

    @property
    def result_file(self) -> Path:
        return self.folder / "result.json"

    @property
    def documents(self) -> Path:
        return self.folder / "documents"

    def new_probes(self) -> list[ProbeResult]:
        """The probes that were stored since the last call, in the order of their start."""
        found = []
        for path in self.folder.glob("probes/*/*.json"):
            if path in self._seen:
                continue
            try:
                found.append(probe_from_json(json.loads(path.read_text(encoding="utf-8"))))
            except (OSError, ValueError, InvalidData):
                continue  # it is being replaced; the next call sees it whole
            self._seen.add(path)
        return sorted(found, key=lambda probe: probe.started_at)

    def hold(self, now: float, stale_after_s: float = 4.0) -> Hold | None:
        """The hold that runs at `now` (epoch seconds); None if nothing was told for a while."""
        path = self.folder / "progress.json"
        try:
            if now - path.stat().st_mtime > stale_after_s:
                return None
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return Hold(
                stage=str(values["stage"]),
                kind=str(values["kind"]),
                rate_tps=float(values["rate_tps"]),
                elapsed_s=float(values["elapsed_s"]),
                hold_s=float(values["hold_s"]),
                offered_tps=values.get("offered_tps"),
                achieved_tps=values.get("achieved_tps"),
                p95_ms=values.get("p95_ms"),
                in_flight=values.get("in_flight"),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def result(self) -> dict[str, Any] | None:
        """The run's result.json; None if the run did not come so far."""
        try:
            values = json.loads(self.result_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return values if isinstance(values, dict) else None


def probe_line(probe: ProbeResult) -> str:
    """One probe in one line."""
    rate = f"{probe.step.rate_tps:.1f} TPS"
    p95 = _ms(probe.latency_ms.get("p95"))
    errors = f"{probe.error_ratio * 100:5.2f} %"
    return (
        f"{probe.stage:<8} {probe.step.kind:<6} {rate:>11}   offered {probe.offered_tps:7.1f}   "
        f"achieved {probe.achieved_tps:7.1f}   p95 {p95}   errors {errors}   {verdict(probe)}"
    )


def verdict(probe: ProbeResult) -> str:
    """What a probe says, in words; why, where it is not good."""
    if probe.validity.status != "valid":
        reason = probe.validity.reasons[0] if probe.validity.reasons else "no reason was stored"
        return f"{probe.validity.status}: {reason}"
    if probe.sustainable:
        return "sustainable"
    if probe.sustainable is None:
        return "not judged"
    return f"not sustainable: {probe.misses[0]}" if probe.misses else "not sustainable"


def hold_line(hold: Hold) -> str:
    """The running hold in one line."""
    return (
        f"          {hold.stage:<8} {hold.kind:<6} {hold.rate_tps:.1f} TPS  {hold.elapsed_s:.0f}/{hold.hold_s:.0f} s  "
        f"offered {_number(hold.offered_tps)}  achieved {_number(hold.achieved_tps)}  p95 {_ms(hold.p95_ms)}  "
        f"in flight {'-' if hold.in_flight is None else hold.in_flight}"
    )


def _ms(value: float | None) -> str:
    return "     -   " if value is None else f"{value:6.0f} ms"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
