"""The course of a campaign: makes the world, chooses cases, runs them, and reports."""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.loaders import JSONFileLoader

from sandbox.plantfile import DEFAULT_PLANT
from tests.faults.lifecycle.aws import World
from tests.faults.lifecycle.campaign import Campaign, Verdict
from tests.faults.lifecycle.cases import Case, all_cases, short
from tests.faults.lifecycle.stages import Clients
from tests.faults.lifecycle.virtual_time import real_monotonic


class Run:
    """One call of the command."""

    def __init__(self, folder: Path, report: Path) -> None:
        self._folder, self._report = folder, report
        logging.getLogger().setLevel(logging.ERROR)
        # Every hook has a session of its own; that they share what they read makes each fork cheaper.
        load = functools.cache(lambda path: JSONFileLoader().load_file_uncached(path))
        JSONFileLoader.load_file_uncached = JSONFileLoader.load_file
        JSONFileLoader.load_file = lambda loader, path: load(path)
        self._world = World(DEFAULT_PLANT, folder)
        settings = {
            "conn_type": "aws",
            "login": "123456789012",
            "password": "sandbox",
            "extra": {"region_name": "us-east-1", "endpoint_url": self._world.url},
        }
        boto3.DEFAULT_SESSION = None  # the world is made
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(settings)
        self._campaign = Campaign(self._world, Clients(), folder)

    def main(self, options: argparse.Namespace, began: float) -> int:
        recording = self._campaign.record()
        every = all_cases(recording)
        cases = _chosen(every, options)
        if options.list:
            print("\n".join(str(case) for case in cases))
            return 0
        if not cases:
            print("There is no such case; --list shows all.", file=sys.stderr)
            return 2
        print(
            f"{len(cases)} of {len(every)} cases; a run has {len(recording.tasks)} points, {recording.calls} calls of "
            f"AWS and {recording.operations} operations on the store. Ready after {real_monotonic() - began:.0f} s.",
            flush=True,
        )
        verdicts = []
        for case in cases:
            verdict = self._campaign.run(case)
            verdicts.append(verdict)
            if verdict.problems:
                kept = self._keep(case)
                print(f"LEAKED {case}: {'; '.join(verdict.problems)}\n  logs: {kept}", flush=True)
        report = summary(every, verdicts, real_monotonic() - began)
        text = as_text(report)
        self._report.parent.mkdir(parents=True, exist_ok=True)
        self._report.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
        self._report.with_suffix(".txt").write_text(text)
        print(text)
        return 1 if report["leaked"] else 0

    def _keep(self, case: Case) -> Path:
        """The files of a case that was not survived."""
        kept = self._report.parent / f"case-{case.number}"
        shutil.rmtree(kept, ignore_errors=True)
        for folder in self._folder.glob(f"case-{case.number:04d}-*"):
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(".tmp-*"))
        return kept


def _chosen(cases: list[Case], options: argparse.Namespace) -> list[Case]:
    if options.case:
        return [case for case in cases if case.number in options.case]
    if options.group:
        cases = [case for case in cases if options.group in case.group]
    if options.short:
        cases = short(cases, options.short)
    part, parts = (int(word) for word in options.part.split("/"))
    return cases[part - 1 :: parts]


def summary(every: Sequence[Case], verdicts: Sequence[Verdict], seconds: float) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for verdict in verdicts:
        group = groups.setdefault(
            verdict.case.group,
            {"cases": 0, "survived": 0, "leaked": 0, "injected": 0, "unseen": 0, "restore_s": 0.0, "run_s": 0.0},
        )
        group["cases"] += 1
        group["leaked" if verdict.problems else "survived"] += 1
        group["injected"] += verdict.injected
        group["unseen"] += verdict.unseen
        group["restore_s"] = round(max(group["restore_s"], verdict.restore_s), 1)
        group["run_s"] = round(max(group["run_s"], verdict.run_s), 1)
    leaked = [verdict for verdict in verdicts if verdict.problems]
    return {
        "cases": len(verdicts),
        "of": len(every),
        "survived": len(verdicts) - len(leaked),
        "leaked": len(leaked),
        "injected": sum(verdict.injected for verdict in verdicts),
        "unseen_foreign_changes": sum(verdict.unseen for verdict in verdicts),
        "changes_made_twice": sum(len(verdict.twice) for verdict in verdicts),
        "longest_restore_s": round(max((verdict.restore_s for verdict in verdicts), default=0.0), 1),
        "seconds": round(seconds, 1),
        "groups": groups,
        "problems": [
            {"case": verdict.case.number, "group": verdict.case.group, "name": verdict.case.name,
             "problems": verdict.problems}
            for verdict in leaked
        ],
    }  # fmt: skip


def as_text(report: dict[str, Any]) -> str:
    lines = [
        f"{'group':<36} {'cases':>6} {'survived':>8} {'leaked':>6} {'injected':>8} {'unseen':>6} {'restore':>8} "
        f"{'run':>8}"
    ]
    for name, group in report["groups"].items():
        lines.append(
            f"{name:<36} {group['cases']:>6} {group['survived']:>8} {group['leaked']:>6} {group['injected']:>8} "
            f"{group['unseen']:>6} {group['restore_s']:>6.1f} s {group['run_s']:>6.1f} s"
        )
    lines += [
        "",
        f"{report['cases']} of {report['of']} cases, {report['injected']} faults injected: {report['survived']} "
        f"survived, {report['leaked']} leaked; {report['changes_made_twice']} changes made twice; "
        f"{report['unseen_foreign_changes']} foreign changes fell between our reading and "
        "writing and could not be seen.",
        f"Longest restore: {report['longest_restore_s']} s with all its pauses. {report['seconds']} s in all.",
    ]
    for problem in report["problems"]:
        lines.append(f"LEAKED case {problem['case']} ({problem['group']}, {problem['name']}):")
        lines += [f"  {one}" for one in problem["problems"]]
        lines.append(f"  repeat: make faults-lifecycle CASE={problem['case']}")
    return "\n".join(lines) + "\n"
