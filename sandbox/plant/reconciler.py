"""Brings what runs in line with what the Auto Scaling groups want: launches, health, replacement and terminations."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from moto.autoscaling.models import autoscaling_backends

from sandbox.aws.autoscaling import SandboxAutoScalingBackend
from sandbox.aws.autoscaling_group import STANDBY, TERMINATING, SandboxGroup, SandboxInstanceState
from sandbox.aws.elbv2 import SandboxTargetGroup
from sandbox.aws.moto_access import AWS_LOCK
from sandbox.aws.outbox import OUTBOX
from sandbox.aws.scaling_activities import ScalingActivity, as_text, now
from sandbox.plant import refreshes
from sandbox.plant.haproxy import BalancerError, BalancerView
from sandbox.plant.machines import Machine, MachineFactory
from sandbox.plant.targets import TargetSync
from sandbox.processes.client import StartFailed

log = logging.getLogger(__name__)

PERIOD_S = 0.2
HEALTH_CHECK_AWS_S = 15.0
END_TIMEOUT_S = 12.0  # a little longer than an instance takes to finish what is in flight
LONGEST_LAUNCH_DELAY_S = 15.0
NOT_RUNNING = "an EC2 health check indicating it has been terminated or stopped"
ELB_FAILED = "an ELB system health check failure"
SET_BY_USER = "a user health-check"


class Reconciler:
    """Owns the machines. Everything below `step` runs in one thread."""

    def __init__(self, factory: MachineFactory, targets: TargetSync, time_scale: float) -> None:
        self.machines: dict[str, Machine] = {}
        self._factory = factory
        self._targets = targets
        self._scale = time_scale
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._next_health_check_s = 0.0
        self._health_is_due = False
        self._launch_failures: dict[str, int] = {}
        self._launch_not_before_s: dict[str, float] = {}
        self._replacements: dict[str, int] = {}
        self.after_step: Callable[[BalancerView], None] = lambda view: None

    def start(self) -> None:
        threading.Thread(target=self._work, name="reconciler", daemon=True).start()

    def wake(self) -> None:
        """Look at everything at once, because something has changed."""
        self._wake.set()

    def end(self) -> None:
        """Change nothing any more."""
        self._ending.set()
        self._wake.set()

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                self.step()
            except BalancerError:
                if not self._ending.is_set():
                    log.exception("the load balancer")
            except Exception:
                log.exception("reconciler")
            self._wake.wait(PERIOD_S)
            self._wake.clear()

    def step(self) -> None:
        """Observe (without the lock: that takes time), then decide and act."""
        for machine in list(self.machines.values()):
            if not machine.answers and machine.process.running:
                machine.answers = machine.probe()
        view = self._targets.balancer.view()
        self._health_is_due = time.monotonic() >= self._next_health_check_s
        if self._health_is_due:
            self._next_health_check_s = time.monotonic() + HEALTH_CHECK_AWS_S / self._scale
        with AWS_LOCK:
            if self._ending.is_set():
                return
            for _, _, backend in list(autoscaling_backends.iter_backends()):
                if isinstance(backend, SandboxAutoScalingBackend):
                    for group in list(backend.autoscaling_groups.values()):
                        if isinstance(group, SandboxGroup):
                            self._reconcile(backend, group)
            self._follow_detached()
            self._targets.sync(self.machines, view)
        self.after_step(view)

    # -- one group

    def _reconcile(self, backend: SandboxAutoScalingBackend, group: SandboxGroup) -> None:
        for state in group.states():
            self._check_health(group, state)
            self._replace_unhealthy(group, state)
        for state in group.states():
            machine = self.machines.get(state.instance_id)
            if state.lifecycle_state != TERMINATING:
                continue
            if machine is None:
                group.remove([state.instance_id])
            else:
                self._terminate(backend, group, state, machine)
        refreshes.advance(backend, group, self._is_warm)
        self._match_capacity(backend, group)
        for state in group.states():
            machine = self.machines.get(state.instance_id)
            if state.lifecycle_state == TERMINATING:
                continue
            if machine is not None:
                self._offer_to_target_groups(backend, group, state, machine)
                if state.lifecycle_state == "Pending" and self._is_ready(machine):
                    self._put_in_service(backend, group, state, machine)
            elif state.lifecycle_state == "Pending":
                self._start_machine(backend, group, state, f"At {as_text(now())} an instance was attached.")
        if group.status and not group.instance_states:
            backend.autoscaling_groups.pop(group.name, None)

    def _check_health(self, group: SandboxGroup, state: SandboxInstanceState) -> None:
        machine = self.machines.get(state.instance_id)
        if machine is None or state.lifecycle_state == TERMINATING or group.is_suspended("HealthCheck"):
            return
        if state.health_status != "Healthy":
            machine.unhealthy_because = machine.unhealthy_because or (
                SET_BY_USER if machine.process.running and state.instance.state == "running" else NOT_RUNNING
            )
            return
        if not self._health_is_due:
            return
        if not machine.process.running or state.instance.state != "running":
            machine.unhealthy_because = NOT_RUNNING
        elif group.health_check_type == "ELB" and machine.in_service_s is not None:
            age_aws_s = (time.monotonic() - machine.in_service_s) * self._scale
            if age_aws_s > float(group.health_check_grace_period or 0) and self._targets.is_unhealthy(machine):
                machine.unhealthy_because = ELB_FAILED
        if machine.unhealthy_because:
            state.health_status = "Unhealthy"
            log.warning("instance %s is unhealthy: %s", state.instance_id, machine.unhealthy_because)

    def _replace_unhealthy(self, group: SandboxGroup, state: SandboxInstanceState) -> None:
        if state.health_status == "Healthy" or state.lifecycle_state == TERMINATING:
            return
        if group.is_suspended("ReplaceUnhealthy") or group.is_suspended("Terminate"):
            return
        machine = self.machines.get(state.instance_id)
        because = machine.unhealthy_because if machine else NOT_RUNNING
        self._replacements[group.name] = self._replacements.get(group.name, 0) + 1
        state.begin_termination(f"At {as_text(now())} an instance was taken out of service in response to {because}.")

    def _match_capacity(self, backend: SandboxAutoScalingBackend, group: SandboxGroup) -> None:
        counted = group.counted()
        desired = group.desired_capacity or 0
        missing = desired - len(counted)
        if missing > 0 and not group.is_suspended("Launch"):
            if time.monotonic() < self._launch_not_before_s.get(group.name, 0.0):
                return
            for number, state in enumerate(group.launch(missing), start=len(counted) + 1):
                self._start_machine(backend, group, state, self._launch_cause(group, number))
        elif missing < 0 and not group.is_suspended("Terminate"):
            self._scale_in(group, counted, -missing)

    def _launch_cause(self, group: SandboxGroup, number: int) -> str:
        if self._replacements.get(group.name, 0) > 0:
            self._replacements[group.name] -= 1
            return (
                f"At {as_text(now())} an instance was launched in response to an unhealthy instance needing to be "
                "replaced."
            )
        return (
            f"{group.capacity_cause}  At {as_text(now())} an instance was started in response to a difference between "
            f"desired and actual capacity, increasing the capacity from {number - 1} to {number}."
        ).strip()

    def _scale_in(self, group: SandboxGroup, counted: list[SandboxInstanceState], surplus: int) -> None:
        newest_first = "NewestInstance" in group.termination_policies
        candidates = [state for state in counted if not state.protected_from_scale_in]
        candidates.sort(key=lambda state: self._age(state), reverse=not newest_first)
        candidates.sort(key=lambda state: state.lifecycle_state != "Pending")  # what does not serve yet goes first
        for number, state in enumerate(candidates[:surplus]):
            before = len(counted) - number
            state.begin_termination(
                f"{group.capacity_cause}  At {as_text(now())} an instance was taken out of service in response "
                f"to a difference between desired and actual capacity, shrinking the capacity from {before} to "
                f"{before - 1}.  "
                f"At {as_text(now())} instance {state.instance_id} was selected for termination.".strip()
            )

    def _age(self, state: SandboxInstanceState) -> float:
        machine = self.machines.get(state.instance_id)
        return time.monotonic() - machine.started_s if machine else 0.0

    # -- one instance

    def _start_machine(
        self, backend: SandboxAutoScalingBackend, group: SandboxGroup, state: SandboxInstanceState, cause: str
    ) -> None:
        activity = backend.activities.add(
            ScalingActivity(group.name, group.arn, f"Launching a new EC2 instance: {state.instance_id}", cause)
        )
        try:
            machine = self._factory.start(
                state.instance_id, group.name, state.instance.private_ip, activity, self._free_place(group)
            )
        except StartFailed as error:
            self._fail_launch(backend, group, state, activity, str(error))
            return
        activity.advance("PreInService", 30)
        self.machines[state.instance_id] = machine
        log.info("instance %s of %s launched at %s", state.instance_id, group.name, machine.address)

    def _free_place(self, group: SandboxGroup) -> int:
        """The first place in the group that no machine has: one that replaces another is of its kind."""
        leaving = {state.instance_id for state in group.states() if state.lifecycle_state == TERMINATING}
        taken = {
            m.place
            for i, m in self.machines.items()
            if m.group_name == group.name and not m.detached and i not in leaving
        }
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def _is_ready(self, machine: Machine) -> bool:
        return machine.answers and self._targets.admits(machine)

    def _is_warm(self, state: SandboxInstanceState, warm_up_aws_s: float) -> bool:
        """In service for so long."""
        machine = self.machines.get(state.instance_id)
        if state.lifecycle_state != "InService" or machine is None or machine.in_service_s is None:
            return False
        return time.monotonic() - machine.in_service_s >= warm_up_aws_s / self._scale

    def _put_in_service(
        self, backend: SandboxAutoScalingBackend, group: SandboxGroup, state: SandboxInstanceState, machine: Machine
    ) -> None:
        state.lifecycle_state = "InService"
        machine.in_service_s = time.monotonic()
        self._launch_failures.pop(group.name, None)
        if machine.launch.ended_at is None:
            machine.launch.finish()
            self._notify(backend, machine.launch, "autoscaling:EC2_INSTANCE_LAUNCH", state.instance_id)
        log.info("instance %s of %s is in service", state.instance_id, group.name)

    def _fail_launch(
        self,
        backend: SandboxAutoScalingBackend,
        group: SandboxGroup,
        state: SandboxInstanceState,
        activity: ScalingActivity,
        problem: str,
    ) -> None:
        """Try again, but later and later: an app that cannot start must not start a thousand times a minute."""
        failures = self._launch_failures[group.name] = self._launch_failures.get(group.name, 0) + 1
        self._launch_not_before_s[group.name] = time.monotonic() + min(LONGEST_LAUNCH_DELAY_S, 0.5 * 2**failures)
        activity.finish("Failed", problem)
        self._notify(backend, activity, "autoscaling:EC2_INSTANCE_LAUNCH_ERROR", state.instance_id)
        log.error("instance %s of %s could not be launched: %s", state.instance_id, group.name, problem)
        backend.ec2_backend.terminate_instances([state.instance_id])
        group.remove([state.instance_id])

    def _offer_to_target_groups(
        self, backend: SandboxAutoScalingBackend, group: SandboxGroup, state: SandboxInstanceState, machine: Machine
    ) -> None:
        """Register once with each target group of the group: what a user deregisters later stays so."""
        if state.lifecycle_state == STANDBY:
            self._leave_target_groups(backend, machine)
            machine.registered.clear()
            return
        for arn in group.target_group_arns:
            if arn in machine.registered:
                continue
            machine.registered.add(arn)
            target_group = backend.elbv2_backend.target_groups.get(arn)
            if target_group is not None and not group.is_suspended("AddToLoadBalancer"):
                target_group.register([{"Id": state.instance_id, "Port": target_group.port}])
        for arn in machine.registered - set(group.target_group_arns):  # the group was detached from it
            machine.registered.discard(arn)

    @staticmethod
    def _leave_target_groups(backend: SandboxAutoScalingBackend, machine: Machine) -> None:
        for target_group in backend.elbv2_backend.target_groups.values():
            if isinstance(target_group, SandboxTargetGroup) and machine.instance_id in target_group.targets:
                target_group.deregister([{"Id": machine.instance_id}])

    def _terminate(
        self, backend: SandboxAutoScalingBackend, group: SandboxGroup, state: SandboxInstanceState, machine: Machine
    ) -> None:
        """One step towards the end of an instance: drain, end the process, forget."""
        if machine.termination is None:
            machine.termination = backend.activities.add(
                ScalingActivity(
                    group.name,
                    group.arn,
                    f"Terminating EC2 instance: {state.instance_id}",
                    state.termination_cause,
                    "InProgress",
                )
            )
            self._leave_target_groups(backend, machine)
            if machine.launch.ended_at is None:
                self._close_launch(backend, group, machine)
        if machine.process.running and not self._targets.is_drained(machine):
            machine.termination.advance("WaitingForELBConnectionDraining", 20, "Waiting for connections to drain.")
            return
        if machine.process.running:
            self._end_process(machine)
            machine.termination.advance("InProgress", 60)
            return
        if not self._targets.is_gone(machine):
            return
        if state.instance.state != "terminated":
            backend.ec2_backend.terminate_instances([state.instance_id])
        group.remove([state.instance_id])
        self.machines.pop(state.instance_id, None)
        machine.termination.finish()
        self._notify(backend, machine.termination, "autoscaling:EC2_INSTANCE_TERMINATE", state.instance_id)
        log.info("instance %s of %s terminated", state.instance_id, group.name)

    def _close_launch(self, backend: SandboxAutoScalingBackend, group: SandboxGroup, machine: Machine) -> None:
        """The instance ends before it was ever in service."""
        if machine.process.running:
            machine.launch.finish("Cancelled", "The instance was terminated before it was in service.")
            return
        failures = self._launch_failures[group.name] = self._launch_failures.get(group.name, 0) + 1
        self._launch_not_before_s[group.name] = time.monotonic() + min(LONGEST_LAUNCH_DELAY_S, 0.5 * 2**failures)
        machine.launch.finish(
            "Failed",
            f"The process ended with {machine.process.returncode} before it was ready; see {machine.process.log}",
        )
        self._notify(backend, machine.launch, "autoscaling:EC2_INSTANCE_LAUNCH_ERROR", machine.instance_id)

    @staticmethod
    def _end_process(machine: Machine) -> None:
        if machine.asked_to_end_s is None:
            machine.asked_to_end_s = time.monotonic()
            machine.process.terminate()
        elif time.monotonic() - machine.asked_to_end_s > END_TIMEOUT_S:
            machine.process.kill()

    def _follow_detached(self) -> None:
        """Machines whose instance EC2 has ended, and those that no group has any more."""
        members = {
            state.instance_id: state
            for _, _, backend in autoscaling_backends.iter_backends()
            for group in backend.autoscaling_groups.values()
            for state in group.instance_states
        }
        for machine in list(self.machines.values()):
            state = members.get(machine.instance_id)
            instance = state.instance if state else self._targets.instance(machine.instance_id)
            lives = instance is not None and instance.state in {"running", "pending"}
            leaves = state is not None and state.lifecycle_state == TERMINATING
            if not lives and not leaves and machine.process.running:
                machine.process.kill()
            if state is None:
                if not machine.detached:
                    machine.detached = True
                    self._targets.leave_all(machine)
                if not machine.process.running and self._targets.is_gone(machine):
                    self.machines.pop(machine.instance_id)

    @staticmethod
    def _notify(backend: SandboxAutoScalingBackend, activity: ScalingActivity, event: str, instance_id: str) -> None:
        for topic, kinds in backend.notifications.get(activity.group_name, {}).items():
            if event not in kinds:
                continue
            message = {
                "Service": "AWS Auto Scaling",
                "Event": event,
                "Time": now().isoformat(),
                "AccountId": backend.account_id,
                "AutoScalingGroupName": activity.group_name,
                "AutoScalingGroupARN": activity.group_arn,
                "ActivityId": activity.id,
                "RequestId": activity.id,
                "EC2InstanceId": instance_id,
                "Description": activity.description,
                "Cause": activity.cause,
                "StatusCode": activity.status,
                "StatusMessage": activity.status_message,
                "Progress": activity.progress,
                "StartTime": activity.started_at.isoformat(),
                "EndTime": activity.ended_at.isoformat() if activity.ended_at else None,
                "Details": {},
            }
            what = event.rpartition("EC2_INSTANCE_")[2].lower().replace("_", " ")
            OUTBOX.publish(topic, f'Auto Scaling: {what} for group "{activity.group_name}"', message)
