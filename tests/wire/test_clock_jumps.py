"""The wall clock jumps by hours, forward and backward: timers go on, durations stay true, lines have the new time."""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import ingressd
from ingressd.observe.line import FORMATS
from ingressd.observe.stats import BOUNDS_S
from ingressd.settings import Limits
from tests.support.backend import OK, Backend, Peer, backend
from tests.support.edge import Running, running, snapshot
from tests.support.loops import on_both_loops

HOURS_S = 6 * 3600.0
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
LIMITS = Limits(request_head_s=0.5, keepalive_idle_s=1, read_gap_s=0.5)
SANE_S = 60.0
"""More than any request takes here, and less than any jump."""

jumps = pytest.mark.parametrize("jump_s", [HOURS_S, -HOURS_S], ids=["forward", "backward"])

Jump = Callable[[float], None]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Sets the wall clock of this process: `jump(SECONDS)`, from where it is."""
    real, offset = time.time, 0.0

    def wall() -> float:
        return real() + offset

    def by(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    monkeypatch.setattr(time, "time", wall)
    return by


@asynccontextmanager
async def holding() -> AsyncIterator[tuple[Running, Backend, asyncio.Event]]:
    """An edge whose backend answers once it may."""
    released = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        while True:
            await peer.head()
            await released.wait()
            await peer.send(OK)

    async with backend(conversation) as app, running(snapshot([app.port]), limits=LIMITS) as edge:
        yield edge, app, released


async def _answer(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), 10)


@jumps
@on_both_loops
async def test_deadlines_neither_fire_early_nor_freeze(jump: Jump, jump_s: float) -> None:
    async with holding() as (edge, _, released):
        released.set()
        kept_reader, kept_writer = await edge.connect()
        kept_writer.write(GET)
        await _answer(kept_reader)
        slow_reader, slow_writer = await edge.connect()
        slow_writer.write(GET[:20])
        jump(jump_s)
        # The connection that was idle when the clock jumped still serves: its time is not over.
        kept_writer.write(GET)
        assert (await _answer(kept_reader)).startswith(b"HTTP/1.1 200")
        # And both end by the deadlines that they had: the head of one that never comes whole, the idle time.
        assert (await asyncio.wait_for(slow_reader.read(), 10)).startswith(b"HTTP/1.1 408")
        assert await asyncio.wait_for(kept_reader.read(), 10) == b""


@jumps
@on_both_loops
async def test_a_silent_endpoint_is_given_up_whatever_the_wall_clock_does(jump: Jump, jump_s: float) -> None:
    async with holding() as (edge, app, _):
        reader, writer = await edge.connect()
        writer.write(GET)
        await app.peer(0)
        jump(jump_s)
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)).startswith(b"HTTP/1.1 504")


@jumps
@on_both_loops
async def test_a_request_that_is_in_flight_has_the_duration_that_it_took(jump: Jump, jump_s: float) -> None:
    async with holding() as (edge, app, released):
        reader, writer = await edge.connect()
        writer.write(GET)
        await app.peer(0)
        jump(jump_s)
        released.set()
        await _answer(reader)
        writer.write(GET)
        await _answer(reader)
        first, second = await edge.logged(2)
        for entry in (first, second):
            assert 0 <= entry.duration_s < SANE_S
            assert entry.upstream_duration_s is not None
            assert 0 <= entry.upstream_duration_s < SANE_S
        ((seconds, *counts),) = edge.stats.export()["durations"].values()
        assert 0 <= seconds < 2 * SANE_S
        assert (sum(counts), len(counts), counts[-1]) == (2, len(BOUNDS_S) + 1, 0)
        # The line of a request has the time that the clock showed when it began.
        assert abs(second.started_at - first.started_at - jump_s) < SANE_S


@jumps
@on_both_loops
async def test_lines_of_the_log_follow_the_clock(jump: Jump, jump_s: float) -> None:
    async with holding() as (edge, _, released):
        released.set()
        reader, writer = await edge.connect()
        moments = []
        for _ in range(2):
            writer.write(GET)
            await _answer(reader)
            moments.append(time.time())
            jump(jump_s)
        entries = await edge.logged(2)
        json_line, nginx_line = FORMATS["json"](), FORMATS["nginx"]()
        for entry, moment in zip(entries, moments, strict=True):
            written = time.strftime("%Y-%m-%dT%H:", time.gmtime(entry.started_at))
            assert json.loads(json_line(entry))["time"].startswith(written)
            assert time.strftime("%d/%b/%Y:%H:", time.localtime(entry.started_at)) in nginx_line(entry)
            assert abs(entry.started_at - moment) < SANE_S


TOLD_MOMENTS = {
    "filters/jwt.py": "a token says by the wall clock when it ends",
    "listener/client_tls.py": "a certificate does",
}
"""Where the other side is a moment that somebody else has named."""


def _reads_wall_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.time", "time.time_ns", "datetime.now"}


def test_no_time_is_measured_with_the_wall_clock() -> None:
    # What is added to it, taken from it or compared with it on the spot is a deadline or a duration.
    package = Path(ingressd.__file__).parent
    found = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if str(path.relative_to(package)) not in TOLD_MOMENTS
        and isinstance(node, ast.BinOp | ast.Compare)
        and any(_reads_wall_clock(part) for part in ast.iter_child_nodes(node))
    ]
    assert found == []
