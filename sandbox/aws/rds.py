"""RDS: instances take their time to be created, changed and deleted, as on AWS; moto does everything at once."""

from __future__ import annotations

import time
from typing import Any, cast

from moto.rds import models
from moto.rds.exceptions import RDSClientError
from moto.rds.models import rds_backends

from sandbox.aws.moto_access import ExtendedBackend

# In AWS seconds. Real Aurora instances take five to fifteen minutes; what matters is that a caller has to wait.
CREATE_AWS_S, MODIFY_AWS_S, DELETE_AWS_S = 60.0, 30.0, 30.0


class _Living:
    """A status that passes: "creating" at first, then what moto says, "modifying" after a change, "deleting" last."""

    time_scale = 1.0
    _passing = "creating"
    _passes_s = 0.0
    _status = "available"

    @property
    def status(self) -> str:
        return self._passing if time.monotonic() < self._passes_s else self._status

    @status.setter
    def status(self, value: str) -> None:
        self._status = value

    def pass_through(self, status: str, aws_s: float) -> None:
        self._passing, self._passes_s = status, time.monotonic() + aws_s / self.time_scale

    @property
    def is_gone(self) -> bool:
        """Its deletion is over."""
        return self._passing == "deleting" and time.monotonic() >= self._passes_s


# moto's serialiser knows the attributes of a class by the class's name, hence the same names.


class DBInstance(_Living, models.DBInstance):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.pass_through("creating", CREATE_AWS_S)
        super().__init__(*args, **kwargs)


class DBInstanceClustered(_Living, models.DBInstanceClustered):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.pass_through("creating", CREATE_AWS_S)
        super().__init__(*args, **kwargs)


class SandboxRDSBackend(ExtendedBackend, models.RDSBackend):
    """The state of RDS in one account and region."""

    MOTO_SERVICE = "rds"

    def describe_db_instances(self, *args: Any, **kwargs: Any) -> list[models.DBInstance]:
        self._forget_deleted()
        return cast(list[models.DBInstance], super().describe_db_instances(*args, **kwargs))

    def describe_db_clusters(self, *args: Any, **kwargs: Any) -> Any:
        self._forget_deleted()
        return super().describe_db_clusters(*args, **kwargs)

    def modify_db_instance(self, db_instance_identifier: str, db_kwargs: dict[str, Any]) -> models.DBInstance:
        self._need_available(db_instance_identifier)
        database = super().modify_db_instance(db_instance_identifier, db_kwargs)
        cast(_Living, database).pass_through("modifying", MODIFY_AWS_S)
        return cast(models.DBInstance, database)

    def delete_db_instance(self, db_instance_identifier: str, *args: Any, **kwargs: Any) -> models.DBInstance:
        database = self.describe_db_instances(db_instance_identifier)[0]
        if database.status == "deleting":
            raise _wrong_state(f"Instance {db_instance_identifier} is already being deleted.")
        super().delete_db_instance(db_instance_identifier, *args, **kwargs)
        self.databases[db_instance_identifier] = database  # still to be seen until it is gone
        cast(_Living, database).pass_through("deleting", DELETE_AWS_S)
        return database

    def _need_available(self, name: str) -> None:
        database = self.describe_db_instances(name)[0]
        if database.status != "available":
            raise _wrong_state(f"Database instance is not in available state: it is {database.status}.")

    def _forget_deleted(self) -> None:
        for name, database in list(self.databases.items()):
            if isinstance(database, _Living) and database.is_gone:
                del self.databases[name]


def _wrong_state(message: str) -> RDSClientError:
    return RDSClientError("InvalidDBInstanceState", message)


def install(time_scale: float) -> None:
    """Put the classes above in the place of moto's. An AWS minute lasts `60 / time_scale` seconds."""
    _Living.time_scale = time_scale
    models.DBInstance = DBInstance  # type: ignore[misc]
    models.DBInstanceClustered = DBInstanceClustered  # type: ignore[misc]
    rds_backends.backend = SandboxRDSBackend
