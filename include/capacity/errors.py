"""Errors that say who must act: the user, the environment or nobody (an invalid measurement).

Every message names what was read, which key or object is wrong and what to do about it. Airflow-facing code translates
these into task outcomes; the domain only raises them.
"""


class HeadroomError(Exception):
    """Base of all errors of Headroom. `str(error)` is one or more complete sentences for a person."""


class ConfigError(HeadroomError):
    """The user's input is wrong (profile, Params, plan). Retrying cannot help.

    Args:
        source: file or form that holds the mistake, such as `include/services/checkout.yaml`.
        key: dotted key in it, such as `search.upper`; empty if the whole file is meant.
        problem: what is wrong with the value.
        cure: what to type instead.
    """

    def __init__(self, source: str, key: str, problem: str, cure: str) -> None:
        super().__init__(source, key, problem, cure)  # all arguments, so that the error pickles
        self.source, self.key, self.problem, self.cure = source, key, problem, cure

    def __str__(self) -> str:
        place = f"{self.source}: {self.key}" if self.key else self.source
        return f"{place}: {self.problem} {self.cure}"


class PlanRefused(ConfigError):
    """The user's JMeter plan holds something that cannot be kept under the steered load model."""


class GuardRefused(HeadroomError):
    """A guard rail forbids the run: target off the allow-list, limit exceeded, environment in use."""


class RunStopped(GuardRefused):
    """Somebody or something outside ended the run while it was under way: an alarm, a stop order, a guard rail."""


class NotReady(HeadroomError):
    """Something outside is not (yet) in the needed state. A retry may help."""


class StoreError(HeadroomError):
    """The artefact store could not be read or written."""


class InvalidData(HeadroomError):
    """Stored or received data does not have the promised form. The measurement is invalid, never slow."""


class Inconclusive(HeadroomError):
    """The run ended without a number that could be trusted; the message says why and what to do."""
