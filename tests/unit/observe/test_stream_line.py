"""The line of a connection at layer 4, in both formats."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import pytest

from ingressd.errors import Reason
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stream_line import STREAM_FORMATS
from ingressd.table.stream import NODE_PORT, UDP, StreamListener


@dataclass
class _Ended:
    """A connection that has ended."""

    listener: StreamListener = field(
        default_factory=lambda: StreamListener(UDP, "::1", 30053, "a/dns:53/UDP", "a", "dns", "main", NODE_PORT)
    )
    started_at: float = 1_893_456_000.25
    duration_s: float = 1.5
    client_address: str = "2001:db8::1"
    client_port: int = 4711
    reason: str = ""
    bytes_in: int = 10
    bytes_out: int = 20
    attempts: int = 2
    upstream_address: str = "10.0.0.1:53"


def test_a_json_line_has_all_that_is_known() -> None:
    assert json.loads(STREAM_FORMATS["json"](_Ended())) == {
        "time": "2030-01-01T00:00:00.250Z",
        "kind": "stream",
        "protocol": "UDP",
        "client": "2001:db8::1",
        "client_port": 4711,
        "listener": "[::1]:30053",
        "role": "nodePort",
        "namespace": "a",
        "service": "dns",
        "port": "main",
        "reason": "",
        "bytes_in": 10,
        "bytes_out": 20,
        "duration_ms": 1500,
        "upstream": "10.0.0.1:53",
        "attempts": 2,
    }


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("", 200),
        (Reason.UPSTREAM_RESET, 200),
        (Reason.CONNECT_REFUSED, 502),
        (Reason.CONNECT_TIMEOUT, 502),
        (Reason.NO_ENDPOINTS, 502),
        (Reason.OVERLOAD, 503),
    ],
)
def test_an_nginx_line_is_ingress_nginxs_for_streams_with_the_service_behind_it(reason: str, status: int) -> None:
    line = STREAM_FORMATS["nginx"](_Ended(reason=reason))
    assert re.fullmatch(
        rf"\[2001:db8::1\] \[\d\d/[A-Z][a-z]{{2}}/20(29|30):\d\d:\d\d:\d\d [+-]\d{{4}}\] UDP {status} 20 10 1\.500"
        r" \[a-dns-main\] 10\.0\.0\.1:53\n",
        line,
    )


def test_a_connection_that_no_endpoint_took_has_a_dash() -> None:
    assert STREAM_FORMATS["nginx"](_Ended(upstream_address="", reason=Reason.NO_ENDPOINTS)).endswith("] -\n")


def test_the_access_log_takes_it(tmp_path: object) -> None:
    path = f"{tmp_path}/log"
    log = AccessLog(path, "json")
    log.write_stream(_Ended())
    log.close()
    with open(path, encoding="ascii") as file:
        assert [json.loads(line)["kind"] for line in file] == ["stream"]
    off = AccessLog("off", "json")
    off.write_stream(_Ended())
    off.close()
