"""Header fields: what passes to the other side, what is dropped, and what the proxy reads."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply, Reason
from ingressd.http import fields as module
from ingressd.http.field_rules import CLAIMS, HOP_BY_HOP, NEVER_FORWARDED, connection_options, valid_name, valid_value
from ingressd.http.fields import RequestFields, ResponseFields, request_fields, response_fields

Raw = Sequence[tuple[bytes, bytes]]


def lines(raw: Raw) -> list[bytes]:
    return [b"%b: %b" % field for field in raw]


def of_request(raw: Raw, minor: int = 1) -> RequestFields:
    return request_fields(lines(raw), minor)


def of_response(raw: Raw) -> ResponseFields:
    return response_fields(lines(raw))


def kept_request(*raw: tuple[bytes, bytes], minor: int = 1) -> list[bytes]:
    return of_request(raw, minor).kept


def kept_response(*raw: tuple[bytes, bytes]) -> list[bytes]:
    return of_response(raw).kept


def test_end_to_end_fields_pass_as_sent_in_their_order_with_duplicates() -> None:
    raw = (
        (b"X-b", b"1"),
        (b"cookie", b"a=b"),
        (b"X-B", b"2"),
        (b"X-b", b"1"),
        (b"X-Obs", b"h\xe9llo"),
        (b"X-Empty", b""),
        (b"User-Agent", b"curl"),
        (b"Accept", b"*/*"),
        (b"Accept", b"text/html"),
        (b"Referer", b"https://a.example/"),
        (b"Authorization", b"Basic x"),
    )
    assert kept_request(*raw) == [b"%b: %b\r\n" % field for field in raw]
    assert kept_response(*raw) == [b"%b: %b\r\n" % field for field in raw]


def test_nothing_is_invented() -> None:
    fields = of_request((), 1)
    assert fields.kept == []
    assert (fields.host, fields.content_length, fields.transfer_encoding, fields.claims) == (None, None, None, None)
    assert (fields.close, fields.keep_alive, fields.upgrades_to_websocket) == (False, False, False)


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_pass_neither_way(name: bytes) -> None:
    for spelling in (name, name.title(), name.upper()):
        assert kept_request((spelling, b"x"), (b"A", b"b")) == [b"A: b\r\n"]
        assert kept_response((spelling, b"x"), (b"A", b"b")) == [b"A: b\r\n"]


@pytest.mark.parametrize("name", sorted({*NEVER_FORWARDED, b"host", b"expect", b"content-length"}))
def test_fields_that_the_proxy_writes_or_refuses_do_not_pass_upstream(name: bytes) -> None:
    assert kept_request((name.title(), b"1")) == []


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"x_real_ip", b"A_", b"_", b"Content_Length"])
def test_names_with_underscores_do_not_pass_upstream(name: bytes) -> None:
    assert kept_request((name, b"1")) == []
    assert kept_response((name, b"1")) == [name + b": 1\r\n"]


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            *CLAIMS,
            b"x-forwarded-for",
            b"x-forwarded-host",
            b"x-forwarded-prefix",
            b"x-original-uri",
            b"ssl-client-verify",
        }
    ),
)
def test_what_a_peer_claims_about_the_client_is_set_aside(name: bytes) -> None:
    fields = of_request(((name.title(), b"1"), (name, b"2")), 1)
    assert fields.kept == []
    assert fields.claims == {name: b"1, 2"}


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ([(b"Connection", b"X-A"), (b"X-A", b"1"), (b"X-B", b"2")], [b"X-B: 2\r\n"]),
        ([(b"X-A", b"1"), (b"Connection", b"close , x-a")], []),
        ([(b"Connection", b"close"), (b"Connection", b"X-A"), (b"X-A", b"1")], []),
        ([(b"Connection", b"\tX-A\t,,"), (b"X-A", b"1"), (b"x-A", b"2")], []),
        ([(b"Connection", b"Cookie"), (b"Cookie", b"a=b"), (b"Cookie2", b"x")], [b"Cookie2: x\r\n"]),
        ([(b"Connection", b'"X-A"'), (b"X-A", b"1")], [b"X-A: 1\r\n"]),
        ([(b"Connection", b"X-A;q"), (b"X-A", b"1")], [b"X-A: 1\r\n"]),
        ([(b"Connection", b"keep-alive"), (b"Close", b"1")], [b"Close: 1\r\n"]),
        ([(b"Connection", b""), (b"X-A", b"1")], [b"X-A: 1\r\n"]),
    ],
)
def test_fields_that_connection_names_are_dropped_both_ways(raw: list[tuple[bytes, bytes]], kept: list[bytes]) -> None:
    assert kept_request(*raw) == kept
    assert kept_response(*raw) == kept


def test_connection_cannot_strip_what_the_proxy_reads() -> None:
    options = b"Host, Content-Length, Transfer-Encoding, X-Forwarded-Proto, X-Request-ID, User-Agent"
    fields = of_request(
        (
            (b"Connection", options),
            (b"Host", b"a.example"),
            (b"Content-Length", b"5"),
            (b"X-Forwarded-Proto", b"https"),
            (b"User-Agent", b"curl"),
        ),
        1,
    )
    assert fields.host == b"a.example"
    assert fields.content_length == b"5"
    assert fields.claims == {b"x-forwarded-proto": b"https"}
    assert fields.user_agent == "curl"
    assert fields.kept == []


def test_connection_cannot_strip_the_length_of_a_response() -> None:
    fields = of_response(((b"Connection", b"Content-Length, X-A"), (b"Content-Length", b"5"), (b"X-A", b"1")))
    assert fields.kept == [b"Content-Length: 5\r\n"]
    assert fields.content_length == b"5"


@pytest.mark.parametrize(
    ("values", "close", "keep_alive"),
    [
        ([], False, False),
        ([b"close"], True, False),
        ([b"CLOSE"], True, False),
        ([b"Keep-Alive"], False, True),
        ([b"foo, Close"], True, False),
        ([b"keep-alive", b"close"], True, True),
        ([b"closed"], False, False),
        ([b"close\x0b"], False, False),
    ],
)
def test_connection_says_whether_it_persists(values: list[bytes], close: bool, keep_alive: bool) -> None:
    raw = [(b"Connection", value) for value in values]
    for fields in (of_request(raw, 1), of_response(raw)):
        assert (fields.close, fields.keep_alive) == (close, keep_alive)


@pytest.mark.parametrize(
    ("connection", "upgrade", "websocket"),
    [
        (b"Upgrade", b"websocket", True),
        (b"keep-alive, Upgrade", b"WebSocket", True),
        (b"upgrade", b"h2c", False),
        (b"Upgrade, HTTP2-Settings", b"h2c", False),
        (b"Upgrade", b"websocket, h2c", False),
        (b"Upgrade", b"TLS/1.0", False),
        (b"keep-alive", b"websocket", False),
        (None, b"websocket", False),
        (b"Upgrade", None, False),
    ],
)
def test_only_a_websocket_upgrade_is_seen(connection: bytes | None, upgrade: bytes | None, websocket: bool) -> None:
    raw = [(name, value) for name, value in ((b"Connection", connection), (b"Upgrade", upgrade)) if value is not None]
    for order in (raw, raw[::-1]):
        request, response = of_request(order, 1), of_response(order)
        assert request.upgrades_to_websocket is response.upgrades_to_websocket is websocket
        assert request.kept == response.kept == []


def test_two_upgrade_fields_are_no_websocket_upgrade() -> None:
    raw = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c"))
    assert not of_request(raw, 1).upgrades_to_websocket
    assert not of_response(raw).upgrades_to_websocket


def test_an_upgrade_in_http_10_is_ignored() -> None:
    assert not of_request(((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")), 0).upgrades_to_websocket


def test_a_second_host_field_is_refused_even_when_it_is_equal() -> None:
    with pytest.raises(LocalReply) as caught:
        of_request(((b"Host", b"a.example"), (b"host", b"a.example")), 1)
    assert (caught.value.status, caught.value.reason, caught.value.close) == (400, Reason.BAD_REQUEST, True)


def test_several_framing_fields_are_joined_so_that_framing_sees_them() -> None:
    raw = ((b"Content-Length", b"5"), (b"content-length", b"5"), (b"TE", b"trailers"))
    assert of_request(raw, 1).content_length == b"5, 5"
    assert of_response(raw).content_length == b"5, 5"
    raw = ((b"Transfer-Encoding", b"chunked"), (b"Transfer-encoding", b"identity"))
    assert of_request(raw, 1).transfer_encoding == b"chunked, identity"
    assert of_response(raw).transfer_encoding == b"chunked, identity"


def test_what_the_proxy_reads_is_read() -> None:
    fields = of_request(
        (
            (b"HOST", b"a.example:80"),
            (b"user-agent", b"curl"),
            (b"Accept", b"text/html"),
            (b"Accept", b"*/*"),
            (b"Referer", b"https://b.example/"),
            (b"Expect", b"100-continue"),
        ),
        1,
    )
    assert fields.host == b"a.example:80"
    assert fields.user_agent == "curl"
    assert fields.accept == b"text/html, */*"
    assert fields.referer == "https://b.example/"
    assert fields.expect == b"100-continue"


@pytest.mark.parametrize("name", [b"", b" A", b"A ", b"A B", b"A\n", b"A\x00", b"\xe9", b"(A)", b'"A"'])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(LocalReply) as caught:
        of_request(((name, b"1"),), 1)
    assert (caught.value.status, caught.value.reason) == (400, Reason.BAD_REQUEST)
    with pytest.raises(LocalReply) as caught:
        of_response(((name, b"1"),))
    assert (caught.value.status, caught.value.reason) == (502, Reason.BAD_GATEWAY_RESPONSE)


def test_the_content_length_of_a_response_passes_and_can_be_dropped() -> None:
    fields = of_response(((b"Server", b"x"), (b"content-Length", b"5"), (b"Date", b"y")))
    assert fields.kept == [b"Server: x\r\n", b"content-Length: 5\r\n", b"Date: y\r\n"]
    fields.drop_content_length()
    assert fields.kept == [b"Server: x\r\n", b"Date: y\r\n"]


def test_only_a_bounded_number_of_short_lines_is_remembered() -> None:
    for number in range(module._REMEMBERED + 10):
        request_fields((b"X-%d: 1" % number,), 1)
        response_fields((b"X-%d: 1" % number,))
    assert len(module._known_in_requests) <= module._REMEMBERED
    assert len(module._known_in_responses) <= module._REMEMBERED_IN_RESPONSES
    long = b"X: " + b"1" * module._REMEMBERED_BYTES
    assert request_fields((long,), 1).kept == [long + b"\r\n"]
    assert long not in module._known_in_requests


def test_white_space_around_a_value_is_not_passed_on() -> None:
    assert request_fields((b"A:1", b"B: \t2 \t"), 1).kept == [b"A: 1\r\n", b"B: 2\r\n"]


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b"", True),
        (b"a", True),
        (b"a b\tc", True),
        (b"h\xe9llo", True),
        (b" a", False),
        (b"a ", False),
        (b"a\t", False),
        (b"a\r\nb", False),
        (b"a\nb", False),
        (b"a\x00", False),
        (b"a\x7f", False),
        (b"\n", False),
        (b"a\n", False),
    ],
)
def test_a_value_has_no_control_characters_and_no_outer_whitespace(value: bytes, valid: bool) -> None:
    assert bool(valid_value(value)) is valid


def test_connection_options_are_lower_case_tokens() -> None:
    assert connection_options(b"Keep-Alive") == {b"keep-alive"}
    assert connection_options(b" Foo ,\tBAR,, b z,\x0bq") == {b"foo", b"bar"}


names = st.sampled_from(
    [
        *(name.title() for name in HOP_BY_HOP | CLAIMS | NEVER_FORWARDED),
        b"X-Forwarded-For",
        b"X_Forwarded_For",
        b"Content-Length",
        b"X-A",
        b"Cookie",
        b"Accept",
    ]
)
values = st.sampled_from([b"a", b"close", b"X-A, Cookie", b"keep-alive", b"X-Forwarded-For, Host", b"", b"1"])


@given(st.lists(st.tuples(names, values), max_size=12), st.integers(0, 1))
def test_only_end_to_end_fields_pass_whatever_is_sent(raw: list[tuple[bytes, bytes]], minor: int) -> None:
    named = {option for name, value in raw if name == b"Connection" for option in connection_options(value)}
    expected = [
        b"%b: %b\r\n" % (name, value)
        for name, value in raw
        if name in {b"X-A", b"Cookie", b"Accept"} and name.lower() not in named
    ]
    assert of_request(raw, minor).kept == expected
    for line in of_response(raw).kept:
        name = line.partition(b":")[0].lower()
        assert name not in HOP_BY_HOP
        assert name not in named or name == b"content-length"


@given(st.binary(max_size=8))
def test_valid_names_are_tokens_only(name: bytes) -> None:
    separators = set(b'"(),/:;<=>?@[\\]{}')
    expected = bool(name) and all(0x21 <= byte <= 0x7E and byte not in separators for byte in name)
    assert bool(valid_name(name)) is expected
