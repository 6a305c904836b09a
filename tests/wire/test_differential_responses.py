"""Two readers of one answer: what the edge passes on as whole is what h11 reads in the endpoint's bytes.

Answers come from a grammar, well-formed and nearly so. The edge may refuse what h11 takes, with a 502, or cut what
turns out broken when its head is gone; it may not pass on as whole what h11 does not read as whole, nor read another.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingressd.http.field_rules import FRAMING, HOP_BY_HOP, connection_options
from ingressd.settings import Limits
from tests.support.backend import Peer, backend
from tests.support.client import Client
from tests.support.edge import Running, running, snapshot
from tests.wire.test_differential import mostly

EXAMPLES = 300
METHODS = ("GET", "HEAD")
HIDDEN = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
CODING = re.compile(rb"(?<=\r\n)transfer-encoding:[^\r\n]*\r\n", re.IGNORECASE)
NOT_PASSED = FRAMING | HOP_BY_HOP


@dataclass(frozen=True)
class Response:
    """An answer as a reader understands it: end-to-end fields only, names in lower case."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


# What an answer is made of

status_lines = mostly(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 A", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 204 No", b"HTTP/1.1 304 "],
    [
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 A",
        b"HTTP/2.0 200 A",
        b"http/1.1 200 A",
        b"HTTP/1.1  200 A",
        b"HTTP/1.1 099 A",
    ],
)
interims = st.sampled_from(
    [b"", b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
names = mostly(
    [b"X-A", b"Server", b"Set-Cookie", b"x_c", b"Connection", b"Keep-Alive", b"Trailer", b"Date"],
    [b"X-A ", b" X-A", b"X\x00", b"", b"X("],
)
values = mostly(
    [b"1", b"a, b", b"\xe9", b"", b"close", b"X-A", b"keep-alive", b'"'],
    [b"a\x00b", b"a\rb", b"a\nb", b"x\r\n y", b"\x7f", b"x\x0by"],
)
framed = st.sampled_from(
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"content-length:0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: Chunked\r\n\r\n02;x=y\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
        b"\r\nhello",
    ]
)
misframed = st.sampled_from(
    [
        b"Content-Length: 5\r\n\r\nhell",
        b"Content-Length: 05\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Content-Length : 5\r\n\r\nhello",
        b"Content-Length: 5\r\n\r\nhello" + HIDDEN,
        b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity\r\n\r\nhello",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    ]
)
line_ends = st.integers(0, 60).map(lambda dice: (b"\n", b"\r", b"\r\r\n")[dice - 58] if dice > 57 else b"\r\n")


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """One answer, perhaps a malformed one, at most one byte of it disturbed."""
    lines = [draw(status_lines), *(b"%b: %b" % (draw(names), draw(values)) for _ in range(draw(st.integers(0, 3))))]
    answer = draw(interims) + b"".join(line + draw(line_ends) for line in lines)
    answer += draw(framed if draw(st.booleans()) else misframed)
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(answer)))
        disturbed = draw(st.sampled_from([b"", b"\r", b"\n", b"\x00", b" ", b":", b";", b"\t", b"0", b"\xff"]))
        answer = answer[:at] + disturbed + answer[at + 1 :]
    return answer


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """One answer that nobody can misread."""
    good_names = st.sampled_from([b"X-A", b"x-b", b"Server", b"Set-Cookie", b"x_c", b"ETag"])
    good_values = st.sampled_from([b"1", b"a, b", b"\xe9", b"", b'"', b"a\tb", b" 1 "])
    payload = draw(st.binary(max_size=40))
    start = b"HTTP/1.1 %d Fine\r\n" % draw(st.sampled_from([200, 201, 404, 500]))
    start += b"".join(b"%b:%b\r\n" % (draw(good_names), draw(good_values)) for _ in range(draw(st.integers(0, 4))))
    form = draw(st.integers(0, 2))
    if form == 0:
        return b"%b\r\n%b" % (start, payload)
    if form == 1:
        return b"%bContent-Length: %d\r\n\r\n%b" % (start, len(payload), payload)
    cut = draw(st.integers(0, len(payload)))
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in (payload[:cut], payload[cut:]) if part)
    return b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\nX-T: 1\r\n\r\n" % (start, chunks)


# Reading


def read_by_h11(stream: bytes, method: str) -> Response | None:
    """The final answer in a stream that then ends; None when h11 reads no whole one."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    connection.receive_data(b"")
    head: h11.Response | None = None
    body = b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None
    assert head is not None
    named = {option for name, value in head.headers if name == b"connection" for option in connection_options(value)}
    fields = tuple((name, value) for name, value in head.headers if name not in NOT_PASSED | named)
    return Response(head.status_code, head.reason, fields, body)


# The edge between them


@dataclass
class Endpoint:
    """Answers whatever it is asked with `answer`, and closes."""

    answer: bytes = b""

    async def converse(self, peer: Peer) -> None:
        await peer.head()
        await peer.send(self.answer)


@dataclass
class Stage:
    runner: asyncio.Runner
    edge: Running
    endpoint: Endpoint

    def passed_on(self, answer: bytes, method: str) -> Response | None:
        """What h11 reads in what the client gets of this answer; None when it is the edge's own, or not whole."""
        self.endpoint.answer = answer
        received = self.runner.run(self._ask(method))
        assert received, "a client that was told nothing"
        if b"\r\nx-ingressd-reason: " in received:
            assert b"HTTP/1.1 502 " in received  # perhaps behind interim ones
            return None
        return read_by_h11(received, method)

    async def _ask(self, method: str) -> bytes:
        client = await Client.connect(self.edge.port)
        try:
            client.send(f"{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            await client.until_closed()
        finally:
            client.close()
            await asyncio.sleep(0)  # a closed transport lets go of its socket in the loop's next turn
        return b"" if client.reset and not client.received else client.received


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One edge for all answers."""
    stack = AsyncExitStack()
    endpoint = Endpoint()

    async def start() -> Running:
        app = await stack.enter_async_context(backend(endpoint.converse))
        return await stack.enter_async_context(running(snapshot([app.port]), limits=Limits(read_gap_s=2)))

    with asyncio.Runner() as runner:
        edge = runner.run(start())
        yield Stage(runner, edge, endpoint)
        runner.run(stack.aclose())


@given(answer=responses(), method=st.sampled_from(METHODS))
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" + HIDDEN, method="GET")
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" + HIDDEN, method="HEAD")
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_passed_on_as_whole_is_what_another_reader_reads(stage: Stage, answer: bytes, method: str) -> None:
    passed_on = stage.passed_on(answer, method)
    if passed_on is not None and (method == "HEAD" or passed_on.status in {204, 304}):
        # Where there is no body, a coding says nothing; h11 refuses those that it does not know there, too.
        answer = CODING.sub(b"", answer)
    assert passed_on is None or passed_on == read_by_h11(answer, method)


@given(answer=well_formed(), method=st.sampled_from(METHODS))
@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_all_that_is_well_formed_is_passed_on(stage: Stage, answer: bytes, method: str) -> None:
    read = read_by_h11(answer, method)
    assert read is not None
    assert stage.passed_on(answer, method) == read
