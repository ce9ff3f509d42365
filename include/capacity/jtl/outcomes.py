"""What a sample came to: told from JMeter's response code and message, as its samplers of version 5.6 write them.

* HTTP: a status, or `Non HTTP response code: <exception>` with the exception's words as the message.
* TCP, mail, LDAP and scripts: a number of the sampler's own (500 and the like) and `<exception>: words` as the message.
* JDBC: `<SQL state> <vendor's code>`, and the same message.
* A Transaction Controller bears the code of its first sample that failed, but not its message. What only a message
  tells (which limit of the machine was hit) is lost there; the health in the shard's reports tells it, too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from include.capacity.protocol import Outcome

# Requests to hosts off the allow-list are sent to a port of the loopback on which nothing listens (RFC 863's discard
# service, which no current system offers).
CLOSED_HOST, CLOSED_PORT = "127.0.0.1", "9"

_NO_HTTP = "Non HTTP response code: "
_NAMED_EXCEPTION = re.compile(r"^((?:[a-z_]\w*\.)+[A-Z][\w$]*)(?::|$)")

# What the generator's machine refuses says nothing about the service, whatever exception carries it.
_MACHINE = re.compile(
    r"(too many open files|cannot assign requested address|address already in use|cannot allocate memory"
    r"|no buffer space|native thread|no space left on device)",
    re.IGNORECASE,
)
_ASTRAY = re.compile(rf"{re.escape(CLOSED_HOST)}(?:/[\d.]+)?:{CLOSED_PORT}\b")
_TIMED_OUT = re.compile(r"\btimed? ?out\b", re.IGNORECASE)
_SCRIPT_PACKAGES = ("javax.script.", "groovy.", "org.codehaus.groovy.", "org.apache.groovy.", "bsh.", "java.lang.")
_CONNECTION_PACKAGES = (
    *("java.net.", "java.io.", "java.nio.channels.", "javax.net.ssl.", "org.apache.http."),
    "org.apache.jmeter.protocol.tcp.",
)
_UNRESOLVED = "UnknownHostException"
_GENERATOR_EXCEPTIONS = frozenset(
    {"BindException", _UNRESOLVED, "ConnectionPoolTimeoutException", "URISyntaxException"}
    | {"MalformedURLException", "FileNotFoundException", "UnsupportedEncodingException"}
)
_TIMEOUT_EXCEPTIONS = frozenset(
    {"SocketTimeoutException", "ConnectTimeoutException", "TimeoutException", "HttpTimeoutException"}
    | {"HttpConnectTimeoutException", "InterruptedIOException", "SQLTimeoutException"}
)
# An answer came, but not one that HTTP knows.
_BROKEN_ANSWER = frozenset(
    {"ProtocolException", "ParseException", "MessageConstraintException", "CircularRedirectException"}
)
_REDIRECTED_FOR_EVER = "number of redirects"
_NO_HOST_IN_URL = "valid host name"
_SQL_STATE = re.compile(r"^(?P<state>[0-9A-Z]{5}) -?\d+$")
_POOL = ("cannot get a connection", "timeout waiting for idle object", "pool exhausted")


class Explained(NamedTuple):
    """`cause` says in a few words what of the generator's own failed; empty unless the outcome is `generator_error`."""

    outcome: Outcome
    cause: str = ""


def classify(code: str, message: str, success: bool) -> Outcome:
    """The outcome of a sample. The plan's own judgement (`success`) stands above the response code: an assertion may
    expect a 404. A failed sample is the generator's fault only when its machine, its settings or a script of the plan
    failed."""
    return explain(code, message, success).outcome


@lru_cache(maxsize=4096)
def explain(code: str, message: str, success: bool) -> Explained:
    """The outcome of a sample and, for one that the generator itself failed, the cause."""
    if success:
        return Explained("ok")
    if code.startswith(_NO_HTTP):
        return _of_exception(code[len(_NO_HTTP) :].strip(), message)
    named = _NAMED_EXCEPTION.match(message)
    exception = named[1] if named else ""
    if exception.startswith(_SCRIPT_PACKAGES):
        return _machine(message) or Explained("generator_error", "a script of the plan")
    if (state := _SQL_STATE.match(code)) or code.startswith("null "):
        return _of_database(state["state"] if state else "", exception, message)
    # HTTP's own words for a status ("Gateway Time-out") name no exception: whatever they say, the service said it
    return (
        _of_exception(exception, message) if exception.startswith(_CONNECTION_PACKAGES) else Explained("service_error")
    )


def _of_exception(exception: str, message: str) -> Explained:
    if (machine := _machine(message)) is not None:
        return machine
    name = re.split(r"[.$]", exception)[-1]
    if name == _UNRESOLVED:
        return Explained("generator_error", "a name that cannot be resolved")
    if name == "BindException":
        return Explained("generator_error", "no local port left")
    if name in _GENERATOR_EXCEPTIONS or (name == "ClientProtocolException" and _NO_HOST_IN_URL in message):
        return Explained("generator_error", f"the plan or its settings ({name})")
    if name in _TIMEOUT_EXCEPTIONS:
        return Explained("timeout")
    if not exception.startswith(_CONNECTION_PACKAGES):
        return Explained("generator_error", f"JMeter itself ({name or 'unnamed'})")
    if name in _BROKEN_ANSWER or name == "ClientProtocolException" or _REDIRECTED_FOR_EVER in message:
        return Explained("service_error")
    return Explained("timeout") if _TIMED_OUT.search(message) else Explained("connection_error")


def _machine(message: str) -> Explained | None:
    if _ASTRAY.search(message):
        return Explained("generator_error", "a redirect or link to a host off target.allow_hosts")
    found = _MACHINE.search(message)
    return Explained("generator_error", found[1].lower()) if found else None


def _of_database(state: str, exception: str, message: str) -> Explained:
    """By the classes of SQL states (ISO 9075): 08 connection, 57014 cancelled by a time limit, HYT00 and HYT01 time."""
    if (machine := _machine(message)) is not None:
        return machine
    if any(words in message.lower() for words in _POOL):
        return Explained("generator_error", "the plan's pool of database connections")
    if state in ("57014", "HYT00", "HYT01") or exception.endswith(".SQLTimeoutException"):
        return Explained("timeout")
    if state.startswith("08"):
        return Explained("timeout") if _TIMED_OUT.search(message) else Explained("connection_error")
    return Explained("service_error")
