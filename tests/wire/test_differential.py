"""Two readers of one stream: what the edge forwards is what h11 reads in the client's bytes, and nothing else.

Streams come from a grammar of requests, well-formed and nearly so. h11 is the more lenient reader: the edge may refuse
what h11 takes, but it may not forward what h11 refuses, and may not see another request than h11 sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingressd.http.field_rules import CLAIMS, HOP_BY_HOP, NEVER_FORWARDED, connection_options
from ingressd.settings import Limits
from tests.support.client import Client
from tests.support.edge import Running, running, snapshot
from tests.support.recorder import Recorder, recording

EXAMPLES = 300
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SMUGGLED = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 46\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n"
)
FRAMING = {b"content-length", b"transfer-encoding"}
OWN = {b"forwarded", b"host", b"x-real-ip", b"x-request-id", b"x-scheme"}
NOT_PASSED = FRAMING | HOP_BY_HOP | CLAIMS | NEVER_FORWARDED | {b"host", b"expect"}
CLAIM_PREFIXES = (b"ssl-client-", b"x-auth-request-", b"x-forwarded-", b"x-original-")


@dataclass(frozen=True)
class Request:
    """A request as a reader understands it: end-to-end fields only, names in lower case."""

    method: bytes
    target: bytes
    host: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


# What a stream is made of


def mostly(good: list[bytes], bad: list[bytes]) -> st.SearchStrategy[bytes]:
    """One in twelve is bad: a stream of bad parts is refused at its beginning, and tells nothing."""
    return st.integers(0, 11).flatmap(lambda dice: st.sampled_from(bad if dice == 11 else good))


methods = mostly([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS"], [b"get", b"TRACE", b"G\tT", b"G ET"])
targets = mostly(
    [b"/", b"/a?b=c", b"/%61//x", b"/a/../b", b"http://b/x", b"http://b", b"//c/d"],
    [b"*", b"/a b", b"/\xe9", b"/#f", b"/..", b"a", b"/%zz"],
)
versions = mostly(
    [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"], [b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 "]
)
names = mostly(
    [b"X-A", b"X-B", b"Accept", b"Cookie", b"x_c", b"X-Forwarded-For", b"Connection", b"Keep-Alive", b"TE", b"Upgrade"],
    [b"X-A ", b" X-A", b"X\x00", b"", b"X(", b"Content-Length", b"Transfer-Encoding"],
)
values = mostly(
    [b"1", b"a, b", b"\xe9", b"", b"close", b"X-A", b"keep-alive", b"websocket", b'"'],
    [b"a\x00b", b"a\rb", b"a\nb", b"x\r\n y", b"\x7f", b"x\x0by"],
)
framings = st.sampled_from(
    [
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Content-Length: 05",
        b"Content-Length: 46",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length : 5",
        b"content-length:5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding:\tchunked ",
        b"transfer-encoding: CHUNKED",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding\t: chunked",
        b"Transfer-Encoding: chunked\r\n\t",
        b"Transfer_Encoding: chunked",
    ]
)
bodies = st.sampled_from(
    [
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"2;x=y\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"05\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
        b"2\r\nhi\r\n0\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ]
)
matching = st.sampled_from(
    [
        b"\r\n",
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 46\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n02;x=y\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
    ]
)
hosts = mostly(
    [b"Host: a", b"Host: a:80", b"host:a"], [b"Host: a\r\nHost: b", b"Host: a b", b"Host:", b"Host : a", b"X: y"]
)
line_ends = st.integers(0, 60).map(
    lambda dice: (b"\n", b"\r", b"\r\r\n", b" \r\n")[dice - 57] if dice > 56 else b"\r\n"
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, perhaps a malformed one."""
    lines = [b" ".join((draw(methods), draw(targets), draw(versions))), draw(hosts)]
    lines += [b"%b: %b" % (draw(names), draw(values)) for _ in range(draw(st.integers(0, 3)))]
    head = b"".join(line + draw(line_ends) for line in lines)
    if draw(st.integers(0, 3)):
        return head + draw(matching)
    return head + draw(framings) + draw(line_ends) + draw(line_ends) + draw(bodies)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Requests one behind the other, at most one byte of them disturbed."""
    stream = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(stream)))
        stream = (
            stream[:at]
            + draw(st.sampled_from([b"", b"\r", b"\n", b"\x00", b" ", b":", b";", b"\t", b"0", b"\xff"]))
            + stream[at + 1 :]
        )
    return stream


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """One request that nobody can misread."""
    good_targets = st.sampled_from([b"/", b"/a?b=c", b"/%61//x", b"/a/../b", b"http://b:81/x", b"/%2f;x"])
    good_names = st.sampled_from([b"X-A", b"x-b", b"Accept", b"Cookie", b"x_c", b"X-Forwarded-For", b"TE", b"Upgrade"])
    good_values = st.sampled_from([b"1", b"a, b", b"\xe9", b"", b'"', b"a\tb", b" 1 "])
    payload = draw(st.binary(max_size=40))
    start = b"%b %b HTTP/1.1\r\nHost: a\r\n" % (draw(st.sampled_from([b"GET", b"POST", b"PUT"])), draw(good_targets))
    fields = b"".join(b"%b:%b\r\n" % (draw(good_names), draw(good_values)) for _ in range(draw(st.integers(0, 4))))
    named = draw(st.sampled_from([b"", b"Connection: X-A\r\n", b"Connection: keep-alive, cookie, host\r\n"]))
    form = draw(st.integers(0, 2))
    if form == 0:
        return start + fields + named + b"\r\n"
    if form == 1:
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (start, fields, named, len(payload), payload)
    cut = draw(st.integers(0, len(payload)))
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in (payload[:cut], payload[cut:]) if part)
    return b"%b%b%bTransfer-Encoding: chunked\r\n\r\n%b0\r\nX-T: 1\r\n\r\n" % (start, fields, named, chunks)


# Reading


def read_by_h11(stream: bytes) -> list[Request]:
    """The whole requests in the stream, up to what h11 refuses or what ends the connection."""
    found: list[Request] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(stream)
    head: h11.Request | None = None
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return found
        if isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            found.append(understood(head, body))
            rest = connection.trailing_data[0]
            answer = h11.Response(status_code=200, headers=[("content-length", "0")])
            for part in (answer, h11.EndOfMessage()):
                connection.send(part)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                if not persists_in_1_0(head):
                    return found
                connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
                connection.receive_data(stream[len(stream) - len(rest) :])
                continue
            connection.start_next_cycle()
        else:
            return found


def persists_in_1_0(head: h11.Request) -> bool:
    """RFC 9112 section 9.3: with keep-alive it does; h11 ends the connection all the same."""
    options = {option for name, value in head.headers if name == b"connection" for option in connection_options(value)}
    return head.http_version == b"1.0" and b"keep-alive" in options and b"close" not in options


def understood(head: h11.Request, body: bytes) -> Request:
    """What of a request is to reach the other end."""
    host, target = dict(head.headers).get(b"host", b""), head.target
    if b"://" in target.split(b"/x")[0][:8]:
        host, _, path = target.partition(b"://")[2].partition(b"/")
        target = b"/" + path
    named = {option for name, value in head.headers if name == b"connection" for option in connection_options(value)}
    fields = tuple(
        (name, value)
        for name, value in head.headers
        if name not in NOT_PASSED | (named - FRAMING) and b"_" not in name and not name.startswith(CLAIM_PREFIXES)
    )
    return Request(head.method, target, host, fields, body)


def answered_here(request: Request) -> bool:
    """The edge answers it by itself."""
    return request.target == b"*" or request.method == b"TRACE"


# The edge between them


@dataclass
class Stage:
    runner: asyncio.Runner
    edge: Running
    app: Recorder

    def forwarded(self, stream: bytes) -> list[Request]:
        """What h11 reads in what the edge forwards of this stream."""
        self.app.requests.clear()
        self.app.faults.clear()
        self.runner.run(self._send(stream))
        assert not self.app.faults, self.app.faults
        whole = [seen for seen in self.app.requests if seen.complete]
        read = [read_by_h11(seen.head + seen.framed) for seen in whole]
        assert all(len(requests) == 1 for requests in read), whole
        return [requests[0] for requests in read]

    async def _send(self, stream: bytes) -> None:
        client = await Client.connect(self.edge.port)
        try:
            client.send(stream)
            await client.until_closed()
        finally:
            client.close()
            await asyncio.sleep(0)  # a closed transport lets go of its socket in the loop's next turn


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One edge for all streams; what is incomplete is given up soon."""
    limits = Limits(request_head_s=0.2, request_body_gap_s=0.2, keepalive_idle_s=0.2)
    stack = AsyncExitStack()

    async def start() -> tuple[Running, Recorder]:
        app = await stack.enter_async_context(recording("app"))
        return await stack.enter_async_context(running(snapshot([app.port]), limits=limits)), app

    with asyncio.Runner() as runner:
        edge, app = runner.run(start())
        yield Stage(runner, edge, app)
        runner.run(stack.aclose())


@given(stream=streams())
@example(stream=SMUGGLED)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_forwarded_is_what_another_reader_reads(stage: Stage, stream: bytes) -> None:
    read = [request for request in read_by_h11(stream + LAST) if not answered_here(request)]
    forwarded = stage.forwarded(stream + LAST)
    assert forwarded == read[: len(forwarded)]


@given(wholesome=st.lists(well_formed(), min_size=1, max_size=4).map(b"".join))
@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_all_that_is_well_formed_is_forwarded(stage: Stage, wholesome: bytes) -> None:
    read = read_by_h11(wholesome + LAST)
    assert read[-1].target == b"/last"
    assert stage.forwarded(wholesome + LAST) == read
