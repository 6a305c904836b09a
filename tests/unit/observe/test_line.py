"""The line of a request: its fields, and that nothing a client sends can break it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import Reason
from ingressd.observe.line import FORMATS, JsonLine, NginxLine
from tests.unit.observe.entries import CART, Ended, unreadable

HOSTILE = (
    'a"b\\c',
    '","status":200,"x":"',
    "one\r\ntwo",
    "\x00\x01\x1b[31mred\x7f",
    "caf\xe9 \x85 \u2028",
    "\udcff\ud800",
    "{}%s%n{0}",
)

NGINX_LINE = re.compile(
    r'(?P<addr>\S+) - - \[(?P<time>[^]]+)\] "(?P<request>[^"]*)" (?P<status>\d+) (?P<sent>\d+) "(?P<referer>[^"]*)"'
    r' "(?P<agent>[^"]*)" (?P<length>\d+) (?P<seconds>[\d.]+) \[(?P<name>[^]]*)\] \[\] (?P<upstream>\S+)'
    r" (?P<upstream_length>\S+) (?P<upstream_seconds>\S+) (?P<upstream_status>\S+) (?P<id>\S*)\n"
)


def _nginx(entry: Ended) -> dict[str, str]:
    match = NGINX_LINE.fullmatch(NginxLine()(entry))
    assert match is not None
    return match.groupdict()


def _unescaped(value: str) -> bytes:
    return re.sub(rb"\\x([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), value.encode("ascii"))


def test_a_json_line_has_every_field_in_its_type() -> None:
    assert json.loads(JsonLine()(Ended())) == {
        "time": "2030-01-01T12:00:00.250Z",
        "request_id": "4f0e3ac5b1d24c6e",
        "client": "203.0.113.7",
        "client_port": 51234,
        "scheme": "https",
        "method": "GET",
        "host": "shop.example.com",
        "target": "/cart?id=42",
        "version": "HTTP/1.1",
        "status": 200,
        "reason": "",
        "route": CART.id,
        "namespace": "default",
        "ingress": "test",
        "service": "app",
        "bytes_in": 7,
        "bytes_out": 1234,
        "duration_ms": 4.2,
        "upstream": "10.0.0.12:8080",
        "upstream_status": 200,
        "upstream_ms": 4.0,
        "attempts": 1,
        "user": "",
        "user_agent": "curl/8.0",
        "referer": "",
    }


def test_a_request_without_route_and_upstream_has_the_same_fields_in_json() -> None:
    line = json.loads(JsonLine()(unreadable()))
    assert line.keys() == json.loads(JsonLine()(Ended())).keys()
    assert (line["reason"], line["route"], line["service"], line["upstream_ms"]) == ("bad_request", "", "", None)


def test_the_reason_of_a_local_reply_is_its_word() -> None:
    assert json.loads(JsonLine()(Ended(status=502, reason=Reason.CONNECT_REFUSED)))["reason"] == "connect_refused"


def test_a_route_that_an_edit_changed_is_told_as_it_is_now() -> None:
    line = JsonLine()
    assert json.loads(line(Ended()))["service"] == "app"
    assert json.loads(line(Ended(route=replace(CART, service="app-v2"))))["service"] == "app-v2"
    assert json.loads(line(Ended()))["service"] == "app"


def test_the_time_is_right_in_every_second_and_order() -> None:
    line = JsonLine()
    times = [json.loads(line(Ended(started_at=at)))["time"] for at in (1893499200.999, 1893499201.0, 1893499199.5)]
    assert times == ["2030-01-01T12:00:00.999Z", "2030-01-01T12:00:01.000Z", "2030-01-01T11:59:59.500Z"]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_strings_come_back_from_json_as_they_were(value: str) -> None:
    entry = Ended(target=value, user_agent=value, referer=value, host=value, method=value, upstream_address=value)
    text = JsonLine()(entry)
    assert text.isascii()
    assert text.count("\n") == 1
    line = json.loads(text)
    for field in ("target", "user_agent", "referer", "host", "method", "upstream"):
        assert line[field] == value
    assert line["status"] == 200


@given(st.text(), st.text(), st.text())
def test_whatever_is_sent_a_line_is_one_line_of_ascii(target: str, user_agent: str, request_id: str) -> None:
    entry = Ended(target=target, user_agent=user_agent, request_id=request_id)
    for make in FORMATS.values():
        line = make()(entry)
        assert line.endswith("\n")
        assert line[:-1].isascii()
        assert line[:-1].isprintable()
    assert json.loads(JsonLine()(entry))["target"] == target


def test_an_nginx_line_has_the_fields_of_ingress_nginx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        line = NginxLine()(Ended(duration_s=1.5))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert line == (
        '203.0.113.7 - - [01/Jan/2030:17:30:01 +0530] "GET /cart?id=42 HTTP/1.1" 200 1234 "-" "curl/8.0" 7 1.500'
        " [default-app-80] [] 10.0.0.12:8080 1234 0.004 200 4f0e3ac5b1d24c6e\n"
    )


def test_an_nginx_line_marks_what_is_missing() -> None:
    line = _nginx(unreadable())
    assert line["request"] == ""
    assert line["name"] == ""
    assert [line[f"upstream{name}"] for name in ("", "_length", "_seconds", "_status")] == ["-", "-", "-", "-"]


def test_an_nginx_line_tells_an_attempt_without_response() -> None:
    line = _nginx(Ended(status=504, reason=Reason.UPSTREAM_TIMEOUT, upstream_status=0, upstream_duration_s=5.0))
    assert [line[f"upstream{name}"] for name in ("", "_length", "_seconds", "_status")] == [
        "10.0.0.12:8080",
        "0",
        "5.000",
        "-",
    ]


def test_nginx_escapes_quotes_backslashes_and_all_but_printable_ascii() -> None:
    line = _nginx(Ended(user_agent='a"b\\c\r\n\x1b\x7f\xe9', referer='" 200 0 "'))
    assert line["agent"] == r"a\x22b\x5Cc\x0D\x0A\x1B\x7F\xE9"
    assert line["referer"] == r"\x22 200 0 \x22"


@given(st.binary())
def test_an_nginx_line_keeps_every_byte_of_a_field(value: bytes) -> None:
    line = _nginx(Ended(user_agent=f"x{value.decode('latin-1')}"))
    assert _unescaped(line["agent"]) == b"x" + value
