"""An AWS in a process of its own: the sandbox's moto behind an endpoint that can fail as a case wants it.

`World` makes it once; every case gets a fork of that state, so that no case sees another's, and nothing has to be
reset.
"""

from __future__ import annotations

import io
import json
import os
import random
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

from werkzeug.serving import make_server

from sandbox.aws.calls import CallLog
from sandbox.aws.extend import extend_moto
from sandbox.aws.moto_access import AWS_LOCK
from sandbox.aws.server import Endpoint, _QuietHandler
from sandbox.plant.resources import FLEET_NAME, ResourceMaker, client
from sandbox.plantfile import load_plant
from tests.faults.lifecycle import state
from tests.faults.lifecycle.plant import MemoryPlant
from tests.faults.lifecycle.virtual_time import real_sleep

READING = ("Describe", "List", "Get")
NO_SERVER = 0


@dataclass(frozen=True, slots=True)
class AwsFaults:
    """What goes wrong, by chance or from a call on. Ratios are of all calls; `seed` fixes which ones they are.

    Attributes:
        throttled: refused with Throttling.
        failed: answered with a status of 500 or 503, without having been carried out.
        lost: carried out, and then answered with 500.
        cut: carried out, and then the connection is closed without an answer.
        latency_s: up to so much more for each call.
        expired_from: from this call on the credentials have expired.
        foreign: name of what somebody else does (see state.FOREIGN) directly before the call of number `foreign_at`.
    """

    seed: int = 0
    throttled: float = 0.0
    failed: float = 0.0
    lost: float = 0.0
    cut: float = 0.0
    latency_s: float = 0.0
    expired_from: int | None = None
    foreign: str = ""
    foreign_at: int = 0


@dataclass(slots=True)
class Event:
    """One thing that happened: a look at a resource, a write to a field, by whom."""

    call: int
    who: str
    what: str
    fields: dict[str, list[Any]] = field(default_factory=dict)


class FaultyEndpoint:
    """The WSGI application: one call after another, each followed by a step of the plant."""

    SERVICES: ClassVar[dict[str, str]] = {"application/x-amz-json-1.1": "json", "application/x-amz-json-1.0": "json"}

    def __init__(self, call_log: CallLog) -> None:
        self.faults = AwsFaults()
        self.calls = 0
        self.events: list[Event] = []
        self.injected = 0
        self.watching = False
        self._inner = Endpoint(call_log)
        self._plant = MemoryPlant()
        self._lock = threading.Lock()
        self._random = random.Random(0)

    def begin(self, faults: AwsFaults) -> None:
        """From now on calls fail like this; they are counted from 0 again."""
        with self._lock:
            self.faults, self.calls, self._random = faults, 0, random.Random(faults.seed)

    def settle(self, steps: int = 40) -> None:
        for _ in range(steps):
            self._plant.step()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = _action(environ, body)
        with self._lock:
            number, self.calls = self.calls, self.calls + 1
            faults, draw = self.faults, self._random.random()
            delay = self._random.random() * faults.latency_s
            if faults.foreign and number == faults.foreign_at:
                self.foreign(faults.foreign)
        if delay:
            real_sleep(delay)
        with self._lock:
            return self._serve(environ, start_response, action, number, draw)

    def _serve(
        self, environ: dict[str, Any], start_response: Callable[..., Any], action: str, number: int, draw: float
    ) -> Iterable[bytes]:
        faults = self.faults
        if faults.expired_from is not None and number >= faults.expired_from:
            return self._refuse(environ, start_response, 403, "ExpiredToken", "The security token has expired")
        for ratio, status, code in (
            (faults.throttled, 400, "Throttling"),
            (faults.failed / 2, 500, "InternalFailure"),
            (faults.failed / 2, 503, "ServiceUnavailable"),
        ):
            if draw < ratio:
                return self._refuse(environ, start_response, status, code, "injected")
            draw -= ratio
        status_line: list[Any] = []
        before = state.settings() if self.watching else {}
        answer = self._inner(environ, lambda *parts, **more: status_line.append((parts, more)))
        answered = list(answer)
        if self.watching:
            self._note(action, number, before, status_line[0][0][0])
        self._plant.step()
        if draw < faults.lost:
            return self._refuse(environ, start_response, 500, "InternalFailure", "injected, although it was done")
        if draw < faults.lost + faults.cut:
            self.injected += 1
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        start_response(*status_line[0][0], **status_line[0][1])
        return answered

    def _note(self, action: str, number: int, before: state.State, status: str) -> None:
        if not status.startswith("2"):
            return
        if action in state.LOOKS:
            self.events.append(Event(number, "run", f"looks at {state.LOOKS[action]}"))
        elif not action.startswith(READING):
            self.events.append(Event(number, "run", action, _difference(before, state.settings())))

    def foreign(self, name: str) -> None:
        """Somebody else does something now."""
        with AWS_LOCK:
            before = state.settings()
            state.FOREIGN[name]()
            self.events.append(Event(self.calls, "foreign", name, _difference(before, state.settings())))
            self.injected += 1

    def _refuse(
        self, environ: dict[str, Any], start_response: Callable[..., Any], status: int, code: str, message: str
    ) -> Iterable[bytes]:
        self.injected += 1
        kind, body = _error(environ, code, message)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-ErrorType", code)]
        if "cbor" in kind:
            headers.append(("smithy-protocol", "rpc-v2-cbor"))
        start_response(f"{status} Injected", headers)
        return [body]


def _action(environ: dict[str, Any], body: bytes) -> str:
    path = environ.get("PATH_INFO", "")
    if "/operation/" in path:
        return path.rpartition("/")[2]
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        return target.rpartition(".")[2]
    return parse_qs(body.decode("latin-1")).get("Action", ["?"])[0]


def _error(environ: dict[str, Any], code: str, message: str) -> tuple[str, bytes]:
    """Content type and body of an error in the protocol of the request."""
    if "/operation/" in environ.get("PATH_INFO", ""):
        return "application/cbor", b"\xa2" + b"".join(map(_cbor_text, ("__type", code, "message", message)))
    if "HTTP_X_AMZ_TARGET" in environ:
        return "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return "text/xml", f"<ErrorResponse>{error}<RequestId>injected</RequestId></ErrorResponse>".encode()


def _cbor_text(text: str) -> bytes:
    data = text.encode()
    return (bytes([0x60 + len(data)]) if len(data) < 24 else bytes([0x78, len(data)])) + data


def _difference(before: state.State, after: state.State) -> dict[str, list[Any]]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: [before.get(name), after.get(name)] for name in sorted(names)}


class World:
    """Makes the environment once, and forks a server of it for each case."""

    def __init__(self, plant_file: Path, folder: Path) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self._folder = folder
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        plant = load_plant(plant_file)
        extend_moto(plant.name, lambda address: True, lambda backend, task: None, lambda task: None, 60.0)
        self.endpoint = FaultyEndpoint(CallLog(folder / "made.jsonl"))
        server = self._server(self.endpoint)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        ResourceMaker(plant, self.url, 8080).make()
        self._make_more()
        server.shutdown()
        thread.join()
        self.endpoint.settle()
        self.endpoint.watching = True
        self.endpoint.begin(AwsFaults())
        self.pristine = state.settings()
        self.at_rest = state.running()

    def _server(self, endpoint: FaultyEndpoint) -> Any:
        host, port = self._listener.getsockname()
        descriptor = os.dup(self._listener.fileno())
        return make_server(host, port, endpoint, threaded=True, request_handler=_QuietHandler, fd=descriptor)

    def _make_more(self) -> None:
        """Alarms (one of them off), and an ECS service that scales by itself (one kind of that suspended)."""
        cloudwatch, ecs = client("cloudwatch", self.url), client("ecs", self.url)
        for name, on in {"checkout-latency": True, "checkout-errors": True, "checkout-old": False}.items():
            cloudwatch.put_metric_alarm(
                AlarmName=name, ActionsEnabled=on, Namespace="AWS/ApplicationELB", MetricName="TargetResponseTime",
                Statistic="Average", Period=60, EvaluationPeriods=1, Threshold=1,
                ComparisonOperator="GreaterThanThreshold",
            )  # fmt: skip
        ecs.register_task_definition(
            family="basket", containerDefinitions=[{"name": "app", "image": "app", "memory": 64, "essential": True}]
        )
        ecs.create_service(cluster=FLEET_NAME, serviceName="basket", taskDefinition="basket", desiredCount=1)
        client("application-autoscaling", self.url).register_scalable_target(
            ServiceNamespace="ecs", ResourceId=f"service/{FLEET_NAME}/basket",
            ScalableDimension="ecs:service:DesiredCount", MinCapacity=1, MaxCapacity=6,
            SuspendedState={"ScheduledScalingSuspended": True},
        )  # fmt: skip

    def fork(self, log: Path) -> Server:
        """A server of its own with this state."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            theirs.close()
            return Server(pid, ours)
        try:
            ours.close()
            self.endpoint._inner = Endpoint(CallLog(log))
            server = self._server(self.endpoint)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._obey(theirs)
        finally:
            os._exit(0)

    def _obey(self, link: socket.socket) -> None:
        """Answers the campaign until it hangs up."""
        stream = link.makefile("rw")
        for line in stream:
            order = json.loads(line)
            answer: Any = None
            if order["do"] == "begin":
                self.endpoint.begin(AwsFaults(**order["faults"]))
            elif order["do"] == "foreign":
                self.endpoint.foreign(order["name"])
            elif order["do"] == "look":
                with self.endpoint._lock:
                    answer = {
                        "settings": state.settings(),
                        "running": state.running(),
                        "events": [asdict(event) for event in self.endpoint.events],
                        "calls": self.endpoint.calls,
                        "injected": self.endpoint.injected,
                    }
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


class Server:
    """The campaign's side of a forked server."""

    def __init__(self, pid: int, link: socket.socket) -> None:
        self._pid, self._link = pid, link
        self._stream = link.makefile("rw")

    def _ask(self, **order: Any) -> Any:
        self._stream.write(json.dumps(order) + "\n")
        self._stream.flush()
        return json.loads(self._stream.readline())

    def begin(self, faults: AwsFaults) -> None:
        self._ask(do="begin", faults=asdict(faults))

    def foreign(self, name: str) -> None:
        self._ask(do="foreign", name=name)

    def look(self) -> dict[str, Any]:
        """Settings, what runs, and every event so far."""
        found: dict[str, Any] = self._ask(do="look")
        return found

    def end(self) -> None:
        self._stream.close()
        self._link.close()
        os.waitpid(self._pid, 0)
