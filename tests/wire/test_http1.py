"""HTTP/1.1 through the edge, byte for byte, on real sockets: framing, connections, order."""

from __future__ import annotations

import asyncio

import pytest

from ingressd.settings import Limits
from ingressd.table.policy import RoutePolicy
from tests.support.backend import OK, Peer, answers, backend, echo
from tests.support.edge import route, running, snapshot

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def send_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def test_connections_are_kept_alive_on_both_sides() -> None:
    async with backend(echo) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        for _ in range(3):
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            assert (await reader.readexactly(length)).startswith(b"GET / HTTP/1.1\r\nHost: a\r\n")
        assert len(app.peers) == 1
        entries = await edge.logged(3)
        assert [entry.status for entry in entries] == [200, 200, 200]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with backend(echo) as app, running(snapshot([app.port])) as edge:
        pipeline = b"".join(f"GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for n in range(40))
        answer = await edge.exchange(pipeline + CLOSE)
        places = [answer.index(f"GET /{n} HTTP/1.1".encode()) for n in range(40)]
        assert places == sorted(places)
        assert len(await edge.logged(41)) == 41


async def test_nothing_is_processed_after_connection_close() -> None:
    async with backend(echo) as app, running(snapshot([app.port])) as edge:
        answer = await edge.exchange(CLOSE + b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 OK") == 1
        assert b"second" not in app.peers[0].received


async def test_hop_by_hop_fields_stay_behind() -> None:
    response = (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Private\r\nKeep-Alive: timeout=5\r\nX-Private: 1\r\n"
        b"Server: app\r\nDate: Mon, 23 Nov 2026 20:00:00 GMT\r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 2\r\n\r\nok"
    )
    async with backend(answers(response)) as app, running(snapshot([app.port])) as edge:
        request = (
            b"GET / HTTP/1.1\r\nHost: a:80\r\n"
            b"Connection: close, X-Gone, Content-Length, Host\r\nX-Gone: 1\r\nTE: trailers\r\n"
            b"Keep-Alive: 1\r\nProxy-Connection: x\r\nProxy: evil\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
            b"x_under: 1\r\nX-Stays: 1\r\nX-Stays: 2\r\n\r\n"
        )
        answer = await edge.exchange(request)
        sent = bytes(app.peers[0].received).lower()
        for gone in (b"x-gone", b"\r\nte:", b"keep-alive", b"proxy", b"upgrade", b"http2", b"x_under", b"connection:"):
            assert gone not in sent, gone
        assert b"\r\nhost: a:80\r\n" in sent
        assert sent.count(b"x-stays: ") == 2
        assert b"X-Private" not in answer
        assert b"Keep-Alive" not in answer
        assert b"Server: app\r\nDate: Mon, 23 Nov 2026 20:00:00 GMT\r\nX-Twice: 1\r\nX-Twice: 2\r\n" in answer
        assert answer.endswith(b"Connection: close\r\n\r\nok")


async def test_a_body_of_known_length_passes_unchanged() -> None:
    async def conversation(peer: Peer) -> None:
        head = await peer.head()
        assert head.lower().count(b"content-length: 5\r\n") == 1
        assert b"transfer-encoding" not in head.lower()
        assert await peer.read(5) == b"hello"
        await peer.send(OK)

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        post = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
        assert (await edge.exchange(post)).endswith(b"\r\n\r\nok")


async def test_a_chunked_body_is_framed_anew() -> None:
    async def conversation(peer: Peer) -> None:
        head = await peer.head()
        assert head.lower().count(b"transfer-encoding: chunked\r\n") == 1
        assert b"content-length" not in head.lower()
        body = await peer.until(b"0\r\n\r\n")
        assert b"ext" not in body
        assert b"X-Trailer" not in body
        await peer.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
        )

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        answer = await edge.exchange(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n"
        )
        assert answer.endswith(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nabcde\r\n0\r\n\r\n")


async def test_an_http_1_0_client_gets_no_chunks() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with backend(answers(chunked)) as app, running(snapshot([app.port])) as edge:
        answer = await edge.exchange(b"GET / HTTP/1.0\r\n\r\n")
        assert b"Transfer-Encoding" not in answer
        assert answer.endswith(b"Connection: close\r\n\r\nabc")


async def test_an_http_1_0_client_may_keep_the_connection() -> None:
    async with backend(answers(OK, OK)) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            answer = await reader.readuntil(b"\r\n\r\nok")
            assert b"Connection: keep-alive\r\n" in answer


@pytest.mark.parametrize(
    ("request_line", "response"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n"),
    ],
)
async def test_responses_without_a_body_end_with_their_head(request_line: bytes, response: bytes) -> None:
    async with backend(answers(response, OK)) as app, running(snapshot([app.port])) as edge:
        answer = await edge.exchange(request_line + b" / HTTP/1.1\r\nHost: a\r\n\r\n" + CLOSE)
        first, second, rest = answer.split(b"\r\n\r\n", 2)
        assert first.startswith(response.split(b"\r\n")[0])
        assert (b"Content-Length: 1000" in first) == (b"Content-Length: 1000" in response)
        assert b"chunked" not in first or request_line == b"HEAD"
        assert second.startswith(b"HTTP/1.1 200 OK")
        assert rest == b"ok"
        assert len(app.peers) == 1


async def test_a_body_that_ends_with_the_connection_is_chunked_for_1_1_clients() -> None:
    response = b"HTTP/1.0 200 OK\r\n\r\nall of it"
    async with backend(answers(response, then_close=True)) as app, running(snapshot([app.port])) as edge:
        answer = await edge.exchange(CLOSE)
        assert answer.endswith(b"\r\n\r\n9\r\nall of it\r\n0\r\n\r\n")


async def test_interim_responses_pass_except_100() -> None:
    response = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
    async with backend(answers(response)) as app, running(snapshot([app.port])) as edge:
        answer = await edge.exchange(CLOSE)
        assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_100_continue_is_answered_when_the_endpoint_is_reached() -> None:
    async def conversation(peer: Peer) -> None:
        head = await peer.head()
        assert b"expect" not in head.lower()
        await peer.read(5)
        await peer.send(OK)

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_no_100_continue_when_the_answer_is_ours() -> None:
    async with running(snapshot([])) as edge:
        answer = await edge.exchange(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close\r\n" in answer


async def test_another_expectation_is_417() -> None:
    async with running(snapshot([])) as edge:
        answer = await edge.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 417 ")


async def test_an_early_response_reaches_a_client_that_still_uploads() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
        assert (await reader.readuntil(b"\r\n\r\nno")).startswith(b"HTTP/1.1 403 ")
        await asyncio.wait_for((await app.peer(0)).closed.wait(), 10)
        with pytest.raises(ConnectionError):
            await send_for_ever(writer)


async def test_a_small_rest_of_a_body_is_discarded_and_the_connection_lives() -> None:
    async with running(snapshot([])) as edge:
        reader, writer = await edge.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        writer.write(b"GET / HTTP/1.1\r\n" * 62 + b"12345678" + b"GET / HTTP/1.0\r\n\r\n")
        rest = await asyncio.wait_for(reader.read(-1), 10)
        assert rest.count(b"HTTP/1.1 503 ") == 1


async def test_a_client_that_goes_away_cancels_the_upstream() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        _, writer = await edge.connect()
        writer.write(GET)
        peer = await app.peer(0)
        writer.close()
        await asyncio.wait_for(peer.closed.wait(), 10)
        (entry,) = await edge.logged()
        assert (entry.status, entry.reason) == (499, "client_abort")


async def test_an_aborted_upload_never_looks_complete() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        _, writer = await edge.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        peer = await app.peer(0)
        writer.close()
        await asyncio.wait_for(peer.closed.wait(), 10)
        assert b"0\r\n\r\n" not in peer.received


async def test_a_broken_chunk_cuts_the_upload() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        answer = await edge.exchange(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"x-ingressd-reason: bad_request" in answer.lower()
        if app.peers:
            await asyncio.wait_for(app.peers[0].closed.wait(), 10)
            assert b"0\r\n\r\n" not in app.peers[0].received


@pytest.mark.parametrize(
    "response",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 12 + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_response_that_breaks_the_rules_is_a_502(response: bytes) -> None:
    async with (
        backend(answers(response)) as app,
        running(snapshot([app.port], routes=[route(policy=RoutePolicy(tries=1))])) as edge,
    ):
        answer = await edge.exchange(CLOSE)
        assert b"HTTP/1.1 502 " in answer
        assert b"bad_gateway_response" in answer


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
async def test_a_truncated_response_looks_truncated(response: bytes) -> None:
    async with backend(answers(response, then_close=True)) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        writer.write(GET)
        data = b""
        try:
            while chunk := await asyncio.wait_for(reader.read(65536), 10):
                data += chunk
        except ConnectionError:
            pass
        assert data.startswith(b"HTTP/1.1 200 OK") or not data
        assert not data.endswith(b"0\r\n\r\n")
        (entry,) = await edge.logged()
        assert entry.reason == "upstream_reset"


async def test_bytes_after_a_response_never_reach_the_next_client() -> None:
    poisoned = OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    async with backend(answers(poisoned, OK)) as app, running(snapshot([app.port])) as edge:
        assert b"poison" not in await edge.exchange(CLOSE)
        assert b"poison" not in await edge.exchange(CLOSE)
        assert len(app.peers) == 2


async def test_bytes_on_an_idle_connection_close_it() -> None:
    release = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await release.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        assert (await edge.exchange(CLOSE)).endswith(b"ok")
        release.set()
        await asyncio.wait_for(app.peers[0].closed.wait(), 10)
        assert b"poison" not in await edge.exchange(CLOSE)


async def test_a_stale_connection_is_retried_on_a_new_one() -> None:
    served = 0

    async def conversation(peer: Peer) -> None:
        nonlocal served
        served += 1
        await peer.head()
        await peer.send(OK)
        if served == 1:
            await peer.head()  # the second request arrives, and is answered with a close

    async with backend(conversation) as app, running(snapshot([app.port])) as edge:
        reader, writer = await edge.connect()
        for _ in range(2):
            writer.write(GET)
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")
        entries = await edge.logged(2)
        assert entries[1].attempts == 2
        assert len(app.peers) == 2


async def test_a_post_that_may_have_been_processed_is_not_repeated() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.read(2)

    async with (
        backend(conversation) as one,
        backend(conversation) as two,
        running(snapshot([one.port, two.port])) as edge,
    ):
        answer = await edge.exchange(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert len(one.peers) + len(two.peers) == 1


async def test_a_refused_connection_is_tried_on_another_endpoint() -> None:
    async with backend(echo) as app, backend(echo) as gone:
        dead = gone.port
    async with backend(echo) as app, running(snapshot([dead, app.port])) as edge:
        for _ in range(4):
            post = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
            assert (await edge.exchange(post)).startswith(b"HTTP/1.1 200 OK")


async def test_when_every_endpoint_refuses_the_reason_says_so() -> None:
    async with backend(echo) as gone:
        dead = gone.port
    async with running(snapshot([dead])) as edge:
        answer = await edge.exchange(CLOSE)
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"x-ingressd-reason: connect_refused" in answer.lower()
        (entry,) = await edge.logged()
        assert entry.upstream_address == f"127.0.0.1:{dead}"


async def test_a_silent_upstream_is_a_504() -> None:
    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.eof()

    async with backend(conversation) as app, running(snapshot([app.port]), limits=Limits(read_gap_s=0.3)) as edge:
        answer = await edge.exchange(CLOSE)
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert b"upstream_timeout" in answer


async def test_no_route_and_no_endpoints_have_their_own_answers() -> None:
    async with running(snapshot([], routes=[])) as edge:
        assert b"no_route" in (answer := await edge.exchange(CLOSE))
        assert answer.startswith(b"HTTP/1.1 404 ")
    async with running(snapshot([])) as edge:
        assert b"no_endpoints" in (answer := await edge.exchange(CLOSE))
        assert answer.startswith(b"HTTP/1.1 503 ")


async def test_slow_heads_and_bodies_are_408() -> None:
    limits = Limits(request_head_s=0.3, request_body_gap_s=0.3)
    async with backend(echo) as app, running(snapshot([app.port]), limits=limits) as edge:
        assert (await edge.exchange(b"GET / HTTP/1.1\r\n")).startswith(b"HTTP/1.1 408 ")
        slow = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"
        assert (await edge.exchange(slow)).startswith(b"HTTP/1.1 408 ")


async def test_idle_connections_are_closed() -> None:
    limits = Limits(keepalive_idle_s=0.3, request_head_s=0.3)
    async with backend(echo) as app, running(snapshot([app.port]), limits=limits) as edge:
        assert await edge.exchange(b"") == b""
        assert (await edge.exchange(GET)).startswith(b"HTTP/1.1 200 ")


async def test_a_connection_carries_no_more_requests_than_allowed() -> None:
    async with backend(echo) as app, running(snapshot([app.port]), limits=Limits(keepalive_requests=2)) as edge:
        answer = await edge.exchange(GET * 3)
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert answer.count(b"Connection: close\r\n") == 1


async def test_a_body_over_the_limit_is_413() -> None:
    limits = Limits(request_body_bytes=10)
    async with backend(echo) as app, running(snapshot([app.port]), limits=limits) as edge:
        announced = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"
        assert (await edge.exchange(announced)).startswith(b"HTTP/1.1 413 ")
        assert not app.peers
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n"
        assert (await edge.exchange(chunked)).startswith(b"HTTP/1.1 413 ")


async def test_trace_and_connect_are_405() -> None:
    async with running(snapshot([])) as edge:
        for line in (b"TRACE / HTTP/1.1", b"CONNECT a:443 HTTP/1.1"):
            answer = await edge.exchange(line + b"\r\nHost: a\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 405 ")
            assert b"\r\nAllow: " in answer


async def test_options_star_is_answered_by_the_proxy() -> None:
    async with running(snapshot([])) as edge:
        answer = await edge.exchange(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_an_absolute_target_replaces_host() -> None:
    async with backend(answers(OK)) as app, running(snapshot([app.port])) as edge:
        await edge.exchange(b"GET http://b.example/x?y=z HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert bytes(app.peers[0].received).startswith(b"GET /x?y=z HTTP/1.1\r\nHost: b.example\r\n")
        (entry,) = await edge.logged()
        assert entry.host == "b.example"


async def test_the_target_goes_upstream_as_it_came() -> None:
    target = b"/a/%7e//b/../c;d=%2F?q=%20+%2f//.."
    async with backend(answers(OK)) as app, running(snapshot([app.port])) as edge:
        await edge.exchange(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert bytes(app.peers[0].received).startswith(b"GET " + target + b" HTTP/1.1\r\n")
