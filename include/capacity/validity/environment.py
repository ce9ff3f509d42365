"""Did the environment stay the same under a step? An instance that is replaced, a deployment that begins, or a scaling
that somebody triggers makes two different services out of one probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CURE = "Keep deployments, scaling and maintenance away from the run; it is repeated by itself."


@dataclass(frozen=True, slots=True)
class EnvironmentState:
    """The environment at one moment.

    Attributes:
        figures: what a probe records, such as `desired`, `in_service`, `healthy`.
        instances: id of each part that serves -> what it is (type, launch template and its version, zone). Health is
            not part of it: that an overloaded instance fails its health check is the service's own doing.
        settings: name -> value of what decides about new instances, such as the launch template and the desired count.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


def changes(before: EnvironmentState | None, after: EnvironmentState | None) -> tuple[str, ...]:
    """Sentences on what is not as it was; none when one of the two is not known."""
    if before is None or after is None:
        return ()
    found = []
    gone = sorted(set(before.instances) - set(after.instances))
    new = sorted(set(after.instances) - set(before.instances))
    if gone or new:
        found.append(
            f"The instances changed under the step: {len(before.instances)} became {len(after.instances)}"
            f"{_listed('gone', gone)}{_listed('new', new)}. {CURE}"
        )
    for instance in sorted(set(before.instances) & set(after.instances)):
        if before.instances[instance] != after.instances[instance]:
            found.append(
                f"The instance {instance} changed under the step: {before.instances[instance]} became "
                f"{after.instances[instance]}. {CURE}"
            )
    for name in sorted(set(before.settings) | set(after.settings)):
        was, now = before.settings.get(name, "nothing"), after.settings.get(name, "nothing")
        if was != now:
            found.append(f"{name} changed under the step: {was} became {now}. {CURE}")
    return tuple(found)


def _listed(word: str, instances: list[str]) -> str:
    return f"; {word}: {', '.join(instances)}" if instances else ""
