"""The AWS endpoint: moto's own HTTP application with a call record, a lock, and errors that a client understands."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from sandbox.aws import calls, pricing
from sandbox.aws.moto_access import AWS_LOCK, LOCKED_SERVICES

log = logging.getLogger(__name__)

REST_SERVICES = frozenset({"s3", "scheduler"})
NOT_IMPLEMENTED = 501  # boto3 does not repeat this one, so a missing action is reported at once
StartResponse = Callable[..., Any]


class MissingInSandbox(ServiceException):
    """An action (or a part of one) that the sandbox does not have."""

    code = "NotImplemented"


class InvalidHere(ServiceException):
    """A parameter that AWS knows and the sandbox cannot honour."""

    code = "ValidationError"


def answer_missing_actions() -> None:
    """Turn what moto leaves as an HTML page with status 500 into an AWS error that says what is missing."""
    original = BaseResponse.call_action

    def call_action(self: BaseResponse) -> Any:
        action = self._get_action()
        calls.note(action, _parameters(self))
        try:
            return original(self)
        except NotImplementedError:
            problem = f"the sandbox does not have the action {self.service_name}:{action}"
        except Exception as error:
            log.exception("%s:%s failed", self.service_name, action)
            problem = f"the sandbox failed in {self.service_name}:{action}: {type(error).__name__}: {error}"
        try:
            _, headers, body = self.serialized(ActionResult(MissingInSandbox(problem)))
        except Exception:  # an action that AWS itself does not know has no model to build the error from
            log.exception("no error could be built for %s:%s", self.service_name, action)
            headers, body = {"content-type": "application/json"}, json.dumps(_json_error(problem))
        return NOT_IMPLEMENTED, {**headers, "status": str(NOT_IMPLEMENTED)}, body

    BaseResponse.call_action = call_action  # type: ignore[method-assign]


class _UnknownService(Exception):
    """moto has no service under the name that a request was signed for."""


def _create_app(service: Any) -> Any:
    if service is None:
        raise _UnknownService
    return create_backend_app(service)


def _parameters(response: BaseResponse) -> dict[str, Any]:
    """What a request asks for. moto has read it, or leaves JSON in the body to the action itself."""
    found = dict(getattr(response, "params", None) or {})
    if not found:
        try:
            body = json.loads(response.body or "{}")
        except (TypeError, ValueError):
            return {}
        found = body if isinstance(body, dict) else {}
    return found


class Endpoint:
    """The WSGI application."""

    def __init__(self, call_log: calls.CallLog) -> None:
        self._moto = DomainDispatcherApplication(_create_app)
        self._calls = call_log

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        service, region = _signed_scope(environ)
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        fallback = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}"
        identity = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        call = calls.Call(service, region, action or fallback, environ.get("HTTP_USER_AGENT", ""), identity)
        if service in REST_SERVICES:  # the address is the resource, and the query says more of it
            query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
            call.resources |= {"path": environ.get("PATH_INFO", ""), "prefix": query.get("prefix", [""])[0]}
            call.resources |= {"group": query["groupName"][0]} if "groupName" in query else {}
            call.parameters = sorted(query)
        calls.begin(call)
        status = 0

        def remember_status(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line.split()[0])
            return start_response(line, *rest)

        try:
            if service in LOCKED_SERVICES:
                with AWS_LOCK:
                    return list(self._moto(environ, remember_status))
            return self._answer(environ, remember_status, service)
        finally:
            self._calls.write(call, status)

    def _answer(self, environ: dict[str, Any], start_response: StartResponse, service: str) -> Iterable[bytes]:
        if service == "pricing":
            return _price_list(environ, start_response)
        if environ.get("PATH_INFO", "").startswith("/moto-api"):
            return _refuse(environ, start_response, "moto's own interface would break the state of the sandbox")
        try:
            return list(self._moto(environ, start_response))
        except _UnknownService:
            return _refuse(environ, start_response, f"the sandbox does not have the service {service}")
        except Exception as error:
            log.exception("request failed")
            problem = f"the sandbox failed in the service {service}: {type(error).__name__}: {error}"
            return _refuse(environ, start_response, problem)


def _signed_scope(environ: dict[str, Any]) -> tuple[str, str]:
    """Service and region that a request was signed for ("unsigned" and "" without a signature)."""
    try:
        _, _, region, service, _ = environ["HTTP_AUTHORIZATION"].split(",")[0].split()[1].split("/")
    except (KeyError, IndexError, ValueError):
        return "unsigned", ""
    return service.lower(), region


def _price_list(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """moto has no Price List."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    status, content = pricing.answer(action, body)
    data = json.dumps(content).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(data)))]
    start_response(f"{status} {'OK' if status == 200 else 'Error'}", headers)
    return [data]


def _json_error(problem: str) -> dict[str, str]:
    return {"__type": MissingInSandbox.code, "message": problem}


def _refuse(environ: dict[str, Any], start_response: StartResponse, problem: str) -> Iterable[bytes]:
    if "json" in environ.get("CONTENT_TYPE", ""):
        kind, body = "application/json", json.dumps(_json_error(problem))
    else:
        kind = "text/xml"
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{MissingInSandbox.code}</Code>"
            f"<Message>{escape(problem)}</Message></Error><RequestId>sandbox</RequestId></ErrorResponse>"
        )
    data = body.encode()
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(data))),
        ("x-amzn-ErrorType", MissingInSandbox.code),
    ]
    start_response(f"{NOT_IMPLEMENTED} Not Implemented", headers)
    return [data]


class _QuietHandler(MotoRequestHandler):
    """The calls have a record of their own, so nothing is printed for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class AwsServer:
    """The endpoint on a loopback port, served by a thread for each connection."""

    def __init__(self, listener: socket.socket, call_log: calls.CallLog) -> None:
        """`listener` is a bound and listening socket; the server takes it over."""
        host, port = listener.getsockname()
        self._listener = listener
        self._server: BaseWSGIServer = make_server(
            host, port, Endpoint(call_log), threaded=True, request_handler=_QuietHandler, fd=listener.fileno()
        )
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, name="aws-endpoint", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._listener.close()
