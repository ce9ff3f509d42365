"""What samples came to: each way in which JMeter tells it, and laws that hold for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.jtl.outcomes import classify, explain
from include.capacity.protocol import OUTCOMES, Outcome


@pytest.mark.parametrize(
    ("code", "message", "success", "outcome"),
    [
        ("200", "OK", True, "ok"),
        ("404", "Not Found", True, "ok"),  # an assertion of the plan expects it
        ("404", "Not Found", False, "service_error"),
        ("503", "Service Unavailable", False, "service_error"),
        ("200", "OK", False, "service_error"),  # an assertion failed
        ("", "", False, "service_error"),
        ("Non HTTP response code: java.net.ConnectException", "Connection refused", False, "connection_error"),
        ("Non HTTP response code: org.apache.http.NoHttpResponseException", "failed", False, "connection_error"),
        ("Non HTTP response code: java.net.SocketException", "Connection reset", False, "connection_error"),
        ("Non HTTP response code: javax.net.ssl.SSLException", "closed", False, "connection_error"),
        ("Non HTTP response code: java.net.SocketTimeoutException", "Read timed out", False, "timeout"),
        ("Non HTTP response code: org.apache.http.conn.ConnectTimeoutException", "x", False, "timeout"),
        ("Non HTTP response code: java.net.ConnectException", "Connection timed out", False, "timeout"),
        ("Non HTTP response code: java.net.BindException", "Address already in use", False, "generator_error"),
        (
            "Non HTTP response code: java.net.NoRouteToHostException",
            "Non HTTP response message: Cannot assign requested address",
            False,
            "generator_error",
        ),
        ("Non HTTP response code: java.net.NoRouteToHostException", "No route to host", False, "connection_error"),
        ("Non HTTP response code: java.net.SocketException", "Too many open files", False, "generator_error"),
        ("Non HTTP response code: java.net.UnknownHostException", "shop", False, "generator_error"),
        ("Non HTTP response code: java.net.URISyntaxException", "Illegal character", False, "generator_error"),
        ("Non HTTP response code: java.lang.NullPointerException", "", False, "generator_error"),
        (
            "Non HTTP response code: org.apache.http.conn.ConnectionPoolTimeoutException",
            "Timeout waiting for connection from pool",
            False,
            "generator_error",
        ),
        ("500", "javax.script.ScriptException: groovy.lang.MissingPropertyException", False, "generator_error"),
        ("500", "java.lang.OutOfMemoryError: Java heap space", False, "generator_error"),
        ("500", "java.lang failed us, said the service", False, "service_error"),
        # what an answer's own words say is the service's, whatever they are
        ("500", "Too many open files", False, "service_error"),
        ("504", "Gateway Time-out", False, "service_error"),
        ("429", "Too Many Requests", False, "service_error"),
        # an answer that is none
        (
            "Non HTTP response code: java.io.IOException",
            "Exceeded maximum number of redirects: 20",
            False,
            "service_error",
        ),
        ("Non HTTP response code: org.apache.http.ProtocolException", "Invalid header", False, "service_error"),
        ("Non HTTP response code: org.apache.http.client.ClientProtocolException", "null", False, "service_error"),
        (
            "Non HTTP response code: org.apache.http.client.ClientProtocolException",
            "URI does not specify a valid host name: http:///",
            False,
            "generator_error",
        ),
        # a redirect that leaves the allow-list
        (
            "Non HTTP response code: org.apache.http.conn.HttpHostConnectException",
            "Non HTTP response message: Connect to 127.0.0.1:9 [/127.0.0.1] failed: Connection refused",
            False,
            "generator_error",
        ),
        (
            "Non HTTP response code: org.apache.http.conn.HttpHostConnectException",
            "Non HTTP response message: Connect to 127.0.0.1:9080 [/127.0.0.1] failed: Connection refused",
            False,
            "connection_error",
        ),
        # TCP and scripts bear the exception in the message
        ("500", "java.net.ConnectException: Connection refused", False, "connection_error"),
        ("500", "java.net.SocketTimeoutException: Read timed out", False, "timeout"),
        ("500", "org.apache.jmeter.protocol.tcp.sampler.ReadException: Error reading", False, "connection_error"),
        ("500", "java.net.SocketException: Too many open files", False, "generator_error"),
        ("500", "java.net.UnknownHostException: shop", False, "generator_error"),
        # JDBC
        ("08001 0", "org.postgresql.util.PSQLException: Connection refused.", False, "connection_error"),
        ("08S01 0", "com.mysql.cj.jdbc.exceptions.CommunicationsException: timed out", False, "timeout"),
        ("57014 0", "org.postgresql.util.PSQLException: canceling statement", False, "timeout"),
        ("42P01 0", "org.postgresql.util.PSQLException: no such relation", False, "service_error"),
        ("null 0", "java.sql.SQLException: Cannot get a connection, pool error", False, "generator_error"),
        ("null 0", "java.sql.SQLTimeoutException: too late", False, "timeout"),
        # a Transaction Controller keeps the code of its first failed sample, not its message
        (
            "Non HTTP response code: java.net.SocketTimeoutException",
            "Number of samples in transaction : 3, number of failing samples : 1",
            False,
            "timeout",
        ),
        ("503", "Number of samples in transaction : 3, number of failing samples : 1", False, "service_error"),
    ],
)
def test_outcomes(code: str, message: str, success: bool, outcome: Outcome) -> None:
    assert classify(code, message, success) == outcome


def test_a_cause_is_told_for_the_generators_own_errors() -> None:
    def cause(code: str, message: str) -> str:
        return explain(code, message, False).cause

    no_http = "Non HTTP response code: "
    assert cause(no_http + "java.net.SocketException", "Too many open files") == "too many open files"
    assert cause(no_http + "java.net.UnknownHostException", "shop") == "a name that cannot be resolved"
    assert cause(no_http + "java.net.BindException", "") == "no local port left"
    assert cause(no_http + "java.lang.NullPointerException", "") == "JMeter itself (NullPointerException)"
    assert cause("500", "javax.script.ScriptException: x") == "a script of the plan"
    astray = "Connect to 127.0.0.1:9 [/127.0.0.1] failed: Connection refused"
    assert cause(no_http + "java.net.ConnectException", astray) == "a redirect or link to a host off target.allow_hosts"
    assert cause("503", "Service Unavailable") == ""


EXCEPTIONS = [
    "java.net.ConnectException", "java.net.SocketException", "java.net.SocketTimeoutException", "java.io.IOException",
    "java.net.BindException", "java.net.UnknownHostException", "javax.net.ssl.SSLException", "java.lang.Error",
    "org.apache.http.NoHttpResponseException", "org.apache.http.conn.ConnectTimeoutException", "org.evil.Exception",
    "org.apache.http.conn.HttpHostConnectException$Inner",
]  # fmt: skip
codes = st.one_of(
    st.text(max_size=12),
    st.integers(100, 599).map(str),
    st.sampled_from(EXCEPTIONS).map(lambda name: f"Non HTTP response code: {name}"),
)
messages = st.one_of(
    st.text(max_size=40), st.tuples(st.sampled_from(EXCEPTIONS), st.text(max_size=20)).map(lambda both: ": ".join(both))
)


@given(codes, messages)
def test_every_sample_has_one_outcome_and_the_generators_own_a_cause(code: str, message: str) -> None:
    assert explain(code, message, True) == ("ok", "")
    outcome, cause = explain(code, message, False)
    assert outcome in OUTCOMES
    assert outcome != "ok"
    assert bool(cause) == (outcome == "generator_error")


@given(st.integers(100, 599).map(str), st.text(max_size=40))
def test_a_status_with_words_is_always_the_services(code: str, words: str) -> None:
    assert classify(code, words.replace(".", " "), False) == "service_error"


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(EXCEPTIONS))
def test_words_around_do_not_change_what_an_exception_is(before: str, after: str, exception: str) -> None:
    """Unless they speak of the machine, of a time limit, or of redirects, the exception's class alone decides."""
    words = f"{before} {after}".lower()
    code = f"Non HTTP response code: {exception}"
    if not any(
        word in words
        for word in ("time", "redirect", "address", "files", "memory", "thread", "space", "127.0.0.1", "host name")
    ):
        assert classify(code, before + after, False) == classify(code, "", False)


def test_the_outcome_of_an_exception_is_the_same_as_a_code_and_as_a_message() -> None:
    for exception in EXCEPTIONS:
        if exception.startswith(("java.net.", "java.io.", "javax.net.", "org.apache.http.")):
            as_code = classify(f"Non HTTP response code: {exception}", "x", False)
            assert classify("500", f"{exception}: x", False) == as_code, exception
