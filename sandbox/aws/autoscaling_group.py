"""An Auto Scaling group that states what it wants and leaves the doing to the plant's reconciler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import ValidationError

from sandbox.aws.scaling_activities import as_text, now

# Lifecycle states that count towards the desired capacity.
COUNTED_STATES = frozenset({"Pending", "InService"})
TERMINATING = "Terminating"
STANDBY = "Standby"
DEFAULT_COOLDOWN_S = 300


class SandboxInstanceState(models.InstanceState):
    """A group's view of one instance. It begins as Pending; the plant moves it on when the machine really serves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lifecycle_state = "Pending"
        self.termination_cause = ""
        self.launched_version = self.auto_scaling_group.current_version()  # type: ignore[union-attr]

    @property
    def counts(self) -> bool:
        return self.lifecycle_state in COUNTED_STATES

    def begin_termination(self, cause: str) -> None:
        """Take the instance out of service; the plant drains and ends it."""
        if self.lifecycle_state != TERMINATING:
            self.lifecycle_state = TERMINATING
            self.termination_cause = cause


class SandboxGroup(models.FakeAutoScalingGroup):
    """moto launches and removes instances inside the API call; here a call only changes what is desired."""

    def __init__(self, **kwargs: Any) -> None:
        self.instance_states: list[models.InstanceState] = []
        self.capacity_cause = ""
        self.desired_capacity: int | None = None
        self.default_instance_warmup: int | None = None
        self.max_instance_lifetime: int | None = None
        self.status: str | None = None
        super().__init__(**kwargs)

    def set_desired_capacity(self, new_capacity: int | None) -> None:
        """Only note the number: moto's own callers have changed the rest of the group already."""
        self.desired_capacity = self.min_size if new_capacity is None else new_capacity

    def change_desired(self, new: int, because: str) -> bool:
        """Want `new` instances; `because` goes into the cause of the activities. False if nothing changes."""
        old = self.desired_capacity
        if new == old:
            return False
        self.desired_capacity = new
        self.capacity_cause = f"At {as_text(now())} {because} changing the desired capacity from {old} to {new}."
        return True

    def counted(self) -> list[SandboxInstanceState]:
        """The instances that count towards the desired capacity."""
        return [state for state in self.states() if state.counts]

    def states(self) -> list[SandboxInstanceState]:
        return list(self.instance_states)  # type: ignore[arg-type]

    def is_suspended(self, process: str) -> bool:
        """Whether a scaling process such as "Launch" is suspended."""
        return process in self._suspended_processes

    def current_version(self) -> tuple[str, int | None]:
        """What an instance launched now is made from: the launch template and its version, or the configuration."""
        template = self.ec2_launch_template
        if template is None:
            return self.launch_configuration_name or "", None
        return template.id, template.get_version(self.launch_template_version).number

    def launch(self, count: int) -> list[SandboxInstanceState]:
        """Create `count` EC2 instances in this group."""
        known = {state.instance_id for state in self.states()}
        self.replace_autoscaling_group_instances(count, self.get_propagated_tags())
        return [state for state in self.states() if state.instance_id not in known]

    def remove(self, instance_ids: Iterable[str]) -> None:
        """Forget instances that have ended or were detached."""
        gone = set(instance_ids)
        self.instance_states = [state for state in self.instance_states if state.instance_id not in gone]

    def check_range(self, desired: int | None, minimum: int | None = None, maximum: int | None = None) -> None:
        """Raise the ValidationError that AWS raises when sizes do not fit each other."""
        low = self.min_size if minimum is None else minimum
        high = self.max_size if maximum is None else maximum
        check_sizes(desired, low, high)


def check_sizes(desired: int | None, low: int | None, high: int | None) -> None:
    """Raise a ValidationError unless low <= desired <= high; None is not checked."""
    if low is not None and high is not None and low > high:
        raise ValidationError(f"Max bound, {high}, must be greater than or equal to min bound, {low}")
    if desired is None or low is None or high is None:
        return
    if not low <= desired <= high:
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{low} and max size:{high}"
        )
