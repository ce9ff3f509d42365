"""Operators that add and remove readers of an Aurora cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from headroom_airflow.hooks.aurora import AuroraHook
from headroom_airflow.links.console import AuroraClusterLink
from headroom_airflow.operators.base import WaitingOperator
from headroom_airflow.triggers.aurora import ClusterAvailableTrigger, InstanceGoneTrigger


class AuroraAddReaderOperator(WaitingOperator[AuroraHook]):
    """Adds a reader to a cluster, and waits until all instances are available. Returns its name.

    A retried task adopts the instance that it made. A task that is killed leaves it: AuroraDeleteReaderOperator as its
    teardown removes it.

    Args:
        cluster: identifier of the cluster.
        instance: identifier of the new instance; derive it from the run, so that nobody else's is adopted.
        instance_class: such as db.r6g.large; the writer's when None.
        tags: of the new instance.
    """

    aws_hook_class = AuroraHook
    operator_extra_links = (AuroraClusterLink(),)
    template_fields: Sequence[str] = aws_template_fields("cluster", "instance", "instance_class", "tags")

    def __init__(
        self,
        *,
        cluster: str,
        instance: str,
        instance_class: str | None = None,
        tags: Mapping[str, str] | None = None,
        waiter_delay: float = 15,
        **kwargs: Any,
    ) -> None:
        super().__init__(waiter_delay=waiter_delay, **kwargs)
        self.cluster = cluster
        self.instance = instance
        self.instance_class = instance_class
        self.tags = tags

    def execute(self, context: Any) -> str:
        self.link(context, AuroraClusterLink, cluster=self.cluster)
        wanted = self.instance_class or self.hook.members(self.cluster)[0].instance_class
        self.hook.add_reader(self.instance, cluster=self.cluster, instance_class=wanted, tags=self.tags or {})
        if not self.wait_for_completion:
            return self.instance
        if self.deferrable:
            trigger = ClusterAvailableTrigger(self.cluster, **self.trigger_arguments)
            self.wait_there(trigger, self.cluster_is_available)
        self.wait_here(self.hook.available(self.cluster, **self.span))
        return self.instance

    def cluster_is_available(self, context: Any, event: dict[str, Any] | None) -> str:
        """Called when the trigger has fired."""
        self.need_success(event)
        return self.instance

    def last_message(self) -> str:
        return self.hook.last_message(self.instance)


class AuroraDeleteReaderOperator(WaitingOperator[AuroraHook]):
    """Deletes a reader of a cluster, and waits until it is gone; no harm when it is so already. Never the writer.

    Args:
        cluster: identifier of the cluster.
        instance: identifier of the reader.
    """

    aws_hook_class = AuroraHook
    operator_extra_links = (AuroraClusterLink(),)
    template_fields: Sequence[str] = aws_template_fields("cluster", "instance")

    def __init__(self, *, cluster: str, instance: str, waiter_delay: float = 15, **kwargs: Any) -> None:
        super().__init__(waiter_delay=waiter_delay, **kwargs)
        self.cluster = cluster
        self.instance = instance

    def execute(self, context: Any) -> None:
        self.link(context, AuroraClusterLink, cluster=self.cluster)
        self.hook.remove_reader(self.instance, cluster=self.cluster)
        if not self.wait_for_completion:
            return
        if self.deferrable:
            trigger = InstanceGoneTrigger(self.instance, **self.trigger_arguments)
            self.wait_there(trigger, self.instance_is_gone)
        self.wait_here(self.hook.gone(self.instance, **self.span))

    def instance_is_gone(self, context: Any, event: dict[str, Any] | None) -> None:
        """Called when the trigger has fired."""
        self.need_success(event)

    def last_message(self) -> str:
        return self.hook.last_message(self.instance)
