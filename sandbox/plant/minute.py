"""What AWS does once a minute: publish metrics, evaluate alarms, carry out schedules and scaling policies."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass

from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends

from sandbox.aws.autoscaling import SandboxAutoScalingBackend, SandboxPolicy
from sandbox.aws.autoscaling_group import SandboxGroup
from sandbox.aws.cloudwatch import SandboxAlarm, SandboxCloudWatchBackend
from sandbox.aws.metric_store import statistic
from sandbox.aws.moto_access import AWS_LOCK, cloudwatch
from sandbox.plant import metrics
from sandbox.plant.reconciler import Reconciler
from sandbox.plant.scaling import EXTRA_PERIODS, AlarmRule, GroupSize, Tracking, evaluate_alarm, track_targets
from sandbox.plant.schedules import Schedules
from sandbox.plant.targets import TargetSync

log = logging.getLogger(__name__)

AWS_MINUTE_S = 60.0
DEFAULT_WARM_UP_AWS_S = 300.0  # AWS falls back to the default cooldown
MARGIN_S = 0.02  # after the end of a period, so that nothing of it is missing


@dataclass(frozen=True, slots=True)
class Clock:
    """AWS time against real time."""

    time_scale: float

    @property
    def minute_s(self) -> float:
        """Real seconds of an AWS minute."""
        return AWS_MINUTE_S / self.time_scale

    def real_s(self, aws_s: float) -> float:
        return aws_s / self.time_scale


class Minute:
    """A thread that wakes at the end of each AWS minute."""

    def __init__(self, reconciler: Reconciler, targets: TargetSync, clock: Clock) -> None:
        self._reconciler = reconciler
        self._targets = targets
        self._clock = clock
        self._reader = metrics.MachineReader()
        self._schedules = Schedules()
        self._ending = threading.Event()
        self.traffic = metrics.Traffic()

    def start(self) -> None:
        threading.Thread(target=self._work, name="aws-minute", daemon=True).start()

    def end(self) -> None:
        self._ending.set()

    def _work(self) -> None:
        before_s = time.time()
        while True:
            period_s = self._clock.minute_s
            number = int(time.time() / period_s) + 1
            if self._ending.wait(number * period_s + MARGIN_S - time.time()):
                return
            try:
                self._publish((number - 1) * period_s, time.time() - before_s)
                before_s = time.time()
                with AWS_LOCK:
                    self._evaluate_alarms(number)
                    self._schedules.carry_out()
                    self._scale_groups()
                self._reconciler.wake()
            except Exception:
                log.exception("the AWS minute")

    # -- metrics

    def _publish(self, start_s: float, span_s: float) -> None:
        moment = metrics.at(start_s)
        with AWS_LOCK:
            warm_up_s = {g.name: self._warm_up_s(g, None) for g in _groups()}
        samples = []
        for machine in list(self._reconciler.machines.values()):  # over HTTP, so without the lock
            sample = self._reader.sample(machine, warm_up_s.get(machine.group_name, 0.0))
            if sample is not None:
                samples.append(sample)
        with AWS_LOCK:
            traffic = self.traffic.take()
            backend = cloudwatch()
            backend.put_metric_data("AWS/EC2", metrics.instance_metrics(samples, moment))
            balancer, group = self._targets.served_balancer(), self._targets.served_group()
            if balancer is not None and group is not None:
                health = Counter(group.observed[i].state for i in group.targets if i in group.observed)
                to_minute = self._clock.minute_s / span_s * self._clock.time_scale
                name = balancer.arn.partition("loadbalancer/")[2]
                target_name = group.arn.rpartition(":")[2]
                data = metrics.balancer_metrics(name, target_name, traffic, samples, health, to_minute, moment)
                backend.put_metric_data("AWS/ApplicationELB", data)
            for scaling_group in _groups():
                backend.put_metric_data("AWS/AutoScaling", metrics.group_metrics(scaling_group, moment))
        busy = [round(100 * sample.busy_ratio) for sample in samples if sample.in_service]
        log.info("%.1f requests/s, busy %s %%, ELB errors %d", traffic.requests / span_s, busy, traffic.own_errors)

    # -- alarms

    def _evaluate_alarms(self, number: int) -> None:
        """`number` is that of the AWS minute that begins now; an alarm is due at the end of each of its periods."""
        for _, _, backend in list(cloudwatch_backends.iter_backends()):
            if not isinstance(backend, SandboxCloudWatchBackend):
                continue
            for alarm in list(backend.alarms.values()):
                if alarm.rule:  # follows the alarms that it looks at
                    continue
                minutes = max(1, round(float(alarm.period or AWS_MINUTE_S) / AWS_MINUTE_S))
                if number % minutes == 0 and isinstance(alarm, SandboxAlarm):
                    self._evaluate(backend, alarm, number // minutes, minutes * self._clock.minute_s)

    def _evaluate(self, backend: SandboxCloudWatchBackend, alarm: SandboxAlarm, current: int, period_s: float) -> None:
        periods = int(alarm.evaluation_periods)
        values = self._values(backend, alarm, current, period_s, periods + EXTRA_PERIODS)
        rule = AlarmRule(
            comparison=alarm.comparison_operator,
            threshold=float(alarm.threshold),
            periods=periods,
            to_alarm=int(alarm.datapoints_to_alarm or periods),
            missing=alarm.treat_missing_data or "missing",  # type: ignore[arg-type]
        )
        state = evaluate_alarm(values, rule, alarm.state_value)  # type: ignore[arg-type]
        if state != alarm.state_value:
            shown = ", ".join("no data" if value is None else f"{value:.2f}" for value in values[-periods:])
            reason = f"Threshold Crossed: the last {periods} datapoints [{shown}], threshold {rule.threshold:g}."
            log.info("alarm %s: %s -> %s (%s)", alarm.name, alarm.state_value, state, shown)
            backend.set_alarm_state(alarm.name, reason, None, state)

    @staticmethod
    def _values(
        backend: SandboxCloudWatchBackend, alarm: SandboxAlarm, current: int, period_s: float, count: int
    ) -> list[float | None]:
        """The metric in the `count` periods before period number `current`, the oldest first."""
        name = alarm.extended_statistic or alarm.statistic
        points = backend.store.points(alarm.key, (current - count) * period_s, current * period_s, period_s, alarm.unit)
        found = {round(point.start_s / period_s): statistic(name, point.data) for point in points}
        return [found.get(index) for index in range(current - count, current)]

    # -- scaling

    def _scale_groups(self) -> None:
        for group in _groups():
            if group.is_suspended("AlarmNotification"):
                continue
            backend = group.autoscaling_backend
            if isinstance(backend, SandboxAutoScalingBackend):
                policies = [
                    p for p in backend.describe_policies(group.name) if isinstance(p, SandboxPolicy) and p.enabled
                ]
                self._track(backend, group, [p for p in policies if p.policy_type == "TargetTrackingScaling"])
                for policy in policies:
                    if policy.policy_type != "TargetTrackingScaling":
                        self._step(backend, group, policy)

    def _track(self, backend: SandboxAutoScalingBackend, group: SandboxGroup, policies: list[SandboxPolicy]) -> None:
        alarms = cloudwatch_backends[backend.account_id][backend.region_name]
        tracked = []
        names: dict[str, str] = {}
        for policy in policies:
            own = [a for a in alarms.alarms.values() if policy.arn in a.alarm_actions and a.actions_enabled]
            high = next((a for a in own if "-AlarmHigh-" in a.name), None)
            low = next((a for a in own if "-AlarmLow-" in a.name), None)
            configuration = policy.target_tracking_configuration
            if high is None or configuration is None:
                continue
            tracked.append(
                Tracking(
                    name=policy.name,
                    value=self._latest(alarms, high),
                    target=float(configuration.__dict__["TargetValue"]),
                    high=high.state_value == "ALARM",
                    low=low is not None and low.state_value == "ALARM",
                    scales_in=low is not None,
                )
            )
            deciding = high if high.state_value == "ALARM" or low is None else low
            names[policy.name] = deciding.name
        decision = track_targets(tracked, self._size(group, policies))
        if decision is not None:
            cause = f"a monitor alarm {names[decision.policy]} in state ALARM triggered policy {decision.policy}"
            if group.change_desired(decision.desired, cause):
                log.info("group %s: %s", group.name, group.capacity_cause)

    def _step(self, backend: SandboxAutoScalingBackend, group: SandboxGroup, policy: SandboxPolicy) -> None:
        """AWS carries a step policy out again in every period in which its alarm is in ALARM."""
        alarms = cloudwatch_backends[backend.account_id][backend.region_name]
        for alarm in list(alarms.alarms.values()):
            if policy.arn not in alarm.alarm_actions or alarm.state_value != "ALARM" or not alarm.actions_enabled:
                continue
            value = self._latest(alarms, alarm)
            if value is None or (policy.policy_type == "SimpleScaling" and self._cools_down(backend, group, policy)):
                continue
            size = self._size(group, [policy])
            inward = any(int(step["ScalingAdjustment"]) < 0 for step in policy.step_adjustments or [])
            if policy.policy_type == "StepScaling" and inward and size.warming:
                continue
            cause = f"a monitor alarm {alarm.name} in state ALARM triggered policy {policy.name}"
            if backend.apply_policy(policy, value - float(alarm.threshold), size.ready, cause):
                log.info("group %s: %s", group.name, group.capacity_cause)

    def _latest(self, backend: object, alarm: object) -> float | None:
        """The alarm's metric in the last complete AWS minute."""
        if not isinstance(backend, SandboxCloudWatchBackend) or not isinstance(alarm, SandboxAlarm):
            return None
        period_s = self._clock.minute_s
        return self._values(backend, alarm, int((time.time() + MARGIN_S) / period_s), period_s, 1)[0]

    def _cools_down(self, backend: SandboxAutoScalingBackend, group: SandboxGroup, policy: SandboxPolicy) -> bool:
        latest = next(iter(backend.activities.of_group(group.name)), None)
        if latest is None:
            return False
        if latest.ended_at is None:
            return True
        cooldown_s = self._clock.real_s(
            float(policy.cooldown if policy.cooldown is not None else group.default_cooldown)
        )
        return time.time() - latest.ended_at.timestamp() < cooldown_s

    def _size(self, group: SandboxGroup, policies: list[SandboxPolicy]) -> GroupSize:
        warm_up_s = max((self._warm_up_s(group, p) for p in policies), default=0.0)
        ready = 0
        for state in group.states():
            machine = self._reconciler.machines.get(state.instance_id)
            if state.lifecycle_state == "InService" and machine is not None and machine.in_service_s is not None:
                ready += time.monotonic() - machine.in_service_s >= warm_up_s
        return GroupSize(
            desired=group.desired_capacity or 0,
            minimum=group.min_size or 0,
            maximum=group.max_size or 0,
            ready=ready,
            warming=len(group.counted()) - ready,
        )

    def _warm_up_s(self, group: SandboxGroup, policy: SandboxPolicy | None) -> float:
        """Real seconds: the policy's own setting, else the group's, else AWS's default of 300 AWS seconds."""
        own = policy.estimated_instance_warmup if policy else None
        for value in (own, group.default_instance_warmup, DEFAULT_WARM_UP_AWS_S):
            if value is not None:
                return self._clock.real_s(float(value))
        return 0.0


def _groups() -> list[SandboxGroup]:
    return [
        group
        for _, _, backend in list(autoscaling_backends.iter_backends())
        for group in backend.autoscaling_groups.values()
        if isinstance(group, SandboxGroup)
    ]
