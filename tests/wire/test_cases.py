"""The conversations of cases/*.yaml, through a real edge to recording backends (cases/README.md)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from ingressd.settings import Limits
from tests.support.answers import Answer
from tests.support.client import Client
from tests.support.edge import Running, route, running, snapshot
from tests.support.loops import on_both_loops
from tests.support.recorder import Recorder, Seen, recording
from tests.support.wire_case import ANY, CLOSED, CUT, CUT_OFF, KEPT, NOTHING, WireCase, load_all

CASES = dict(load_all())
APP, ADMIN = "app", "admin"
AT_ONCE = 32
AFTER = b"GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
WARM = b"GET /warm HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass
class Stage:
    """An edge with `/admin` and `/` on two recorders."""

    edge: Running
    app: Recorder
    admin: Recorder

    def requests(self) -> list[Seen]:
        """What came through, without the requests of the other clients."""
        seen = [*self.app.requests, *self.admin.requests]
        return [it for it in seen if not it.head.startswith((b"GET /after ", b"GET /other ", b"GET /warm "))]


@asynccontextmanager
async def staged(case: WireCase) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        admin_prefix = case.expect.pool == ADMIN
        app = await stack.enter_async_context(recording(APP, () if admin_prefix else case.script))
        admin = await stack.enter_async_context(recording(ADMIN, case.script if admin_prefix else ()))
        routes = [route(), route(path="/admin", pool="default/admin:80")]
        table = snapshot([app.port], routes=routes)
        pool = next(iter(table.pools.values()))
        endpoint = replace(pool.endpoints[0], port=admin.port)
        pools = {**table.pools, "default/admin:80": replace(pool, id="default/admin:80", endpoints=(endpoint,))}
        edge = await stack.enter_async_context(
            running(replace(table, pools=pools), limits=Limits(**case.limits), **case.settings)
        )
        yield Stage(edge, app, admin)


@pytest.mark.parametrize("name", CASES)
@on_both_loops
async def test_a_conversation_goes_as_its_case_says(name: str) -> None:
    case = CASES[name]
    ways = list(case.ways())
    if case.script:
        for way in ways:  # a script is played once
            async with staged(case) as stage:
                await play(case, stage, way)
                check_upstream(case, stage, 1)
    else:
        async with staged(case) as stage:
            for start in range(0, len(ways), AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for way in ways[start : start + AT_ONCE]:
                        group.create_task(play(case, stage, way))
            check_upstream(case, stage, len(ways))


async def play(case: WireCase, stage: Stage, way: tuple[bytes, ...]) -> None:
    """One client's conversation, and then another client's, who must get the answer to its own request."""
    if case.warm:
        await ask(stage, WARM)
    expect = case.expect
    client = await Client.connect(stage.edge.port)
    try:
        await client.send_pieces(way)
        if not expect.status:
            await client.until_closed()
        answers = await client.answers(len(expect.status), case.methods)
        finals = [answer for answer in answers if answer.status >= 200]
        got = f"cut as {[len(piece) for piece in way]}: {client.received!r}"
        assert tuple(answer.status for answer in answers if answer.status < 200) == expect.interim, got
        assert tuple(answer.status for answer in finals) == expect.status, got
        check_answers(case, client, finals, got)
        await check_connection(case, client, finals, got)
    finally:
        client.close()
    for recorder in (stage.app, stage.admin):
        recorder.let_go()
    if any(step.later for step in case.script):
        await asyncio.wait_for((stage.admin if expect.pool == ADMIN else stage.app).idle_ended.wait(), 10)
    await ask(stage, OTHER)


def check_answers(case: WireCase, client: Client, finals: list[Answer], got: str) -> None:
    expect = case.expect
    for part in expect.has:
        assert part in client.received, (part, got)
    for part in expect.lacks:
        assert part not in client.received, (part, got)
    if expect.body is not None:
        assert finals[-1].body == expect.body, got
    if expect.reason:
        assert finals[-1].field(b"x-ingressd-reason") == expect.reason.encode(), got
    elif expect.refused:
        assert finals[-1].field(b"x-ingressd-reason"), got


async def check_connection(case: WireCase, client: Client, finals: list[Answer], got: str) -> None:
    """What becomes of the connection."""
    expect = case.expect
    if expect.connection == ANY:
        return
    if expect.connection == KEPT:
        assert finals[-1].field(b"connection") in {None, b"keep-alive"}, got
        client.send(AFTER)
        answers = await client.answers(len(expect.status) + 1, case.methods)
        assert answers[-1].body == b"GET /after", client.received
        await client.until_closed()
        return
    await client.until_closed()
    if expect.connection == CLOSED:
        assert all(answer.complete for answer in finals), got
        assert finals[-1].field(b"connection") == b"close", got
        assert len(await client.answers(99, case.methods)) == len(expect.interim) + len(finals), client.received
    else:
        assert expect.connection == CUT
        framed = not finals or not finals[-1].complete
        assert framed or client.reset, f"it looks whole: {got}"


async def ask(stage: Stage, request: bytes) -> None:
    """A plain request of a client of its own gets the answer to it."""
    client = await Client.connect(stage.edge.port)
    try:
        client.send(request)
        await client.until_closed()
        (answer,) = await client.answers(1, ["GET"])
        assert answer.body == b" ".join(request.split(b" ", 2)[:2]), client.received
    finally:
        client.close()


def check_upstream(case: WireCase, stage: Stage, times: int) -> None:
    """What the backends saw, every time."""
    expect = case.expect
    for recorder in (stage.app, stage.admin):
        assert not recorder.faults, recorder.faults
    seen = stage.requests()
    if expect.upstream == NOTHING:
        assert not seen
    elif expect.upstream == CUT_OFF:
        assert not any(request.complete for request in seen), seen
    elif expect.upstream is not None:
        assert len(seen) == len(expect.upstream) * times, seen
        patterns = [expected(case, stage, text) for text in expect.upstream]
        for request in seen:
            assert request.complete, request
            whole = request.head + request.body
            assert any(pattern.fullmatch(whole) for pattern in patterns), (whole, patterns)
        for pattern in patterns:
            matching = sum(pattern.fullmatch(it.head + it.body) is not None for it in seen)
            assert matching == times * sum(it.pattern == pattern.pattern for it in patterns), (pattern, seen)
    if expect.pool:
        other = stage.app if expect.pool == ADMIN else stage.admin
        assert not [it for it in stage.requests() if it in other.requests]
        assert seen, "nobody saw it"


def expected(case: WireCase, stage: Stage, text: bytes) -> re.Pattern[bytes]:
    """The bytes of a request upstream: `<own>` stands for the fields that the proxy writes itself."""
    host = re.search(rb"\r\nHost: ([^\r\n]*)\r\n", text)
    named = host is not None and host[1]
    quoted = b'"%b"' % named if named and re.search(rb"[:\[\]]", named) else named
    own = b"".join(
        (
            b"X-Forwarded-Host: %b\r\n" % named if named else b"",
            b"X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nX-Forwarded-Port: <port>\r\n",
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Scheme: http\r\nX-Scheme: http\r\nForwarded: for=127.0.0.1",
            b";host=%b" % quoted if quoted else b"",
            b";proto=http\r\nX-Request-ID: <id>\r\n",
        )
    )
    pattern = re.escape(text.replace(b"<own>", own))
    pattern = pattern.replace(b"<port>", str(stage.edge.port).encode()).replace(b"<id>", rb"[0-9a-f]{32}")
    return re.compile(pattern, re.DOTALL)
