"""Nothing of the sandbox can be reached from another machine."""

from __future__ import annotations

from ipaddress import ip_address

import psutil
import pytest

from tests.integration.sandbox.conftest import RunningSandbox

pytestmark = pytest.mark.system


def test_nothing_listens_beyond_loopback(sandbox: RunningSandbox) -> None:
    pids = {sandbox.state["pid"], *sandbox.processes()}
    listening = {
        connection.laddr.ip: pid
        for pid in pids
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening) >= 2, "the endpoint and the load balancer on 127.0.0.1, an instance on an address of its own"
    assert [address for address in listening if not ip_address(address).is_loopback] == []
