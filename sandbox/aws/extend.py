"""Applies all extensions of moto. To be called once in a process, before the endpoint answers."""

from __future__ import annotations

from collections.abc import Callable


def extend_moto(
    served_load_balancer: str,
    is_free_address: Callable[[str], bool],
    on_run: Callable[..., None],
    on_stop: Callable[..., None],
    time_scale: float,
) -> None:
    """Exchange moto's classes for ours.

    `served_load_balancer` is the name of the load balancer that HAProxy stands for; `is_free_address` says
    whether the plant can use a private address; `on_run(backend, task)` and `on_stop(task)` start and stop the process
    behind an ECS task. An AWS minute lasts `60 / time_scale` seconds.
    """
    from sandbox.aws import application_autoscaling, autoscaling_api, cloudwatch, ec2, ecs, elbv2, rds
    from sandbox.aws.server import answer_missing_actions

    answer_missing_actions()
    autoscaling_api.install()
    cloudwatch.install()
    elbv2.install(served_load_balancer)
    ec2.install(is_free_address)
    ecs.install(on_run, on_stop)
    application_autoscaling.install()
    rds.install(time_scale)
