"""Paced: a steady rate of GETs over a few keep-alive connections, until SIGTERM. As a program: PORT HOST RATE.

In: a port, a rate. Out: a Sample as one line of JSON. Each time counts from when the request was due, so that a stall
of the proxy counts for every request that had to wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import uvloop

from bench import ROOT
from bench.clients.sample import ClientError, Sample, sample_of
from bench.clients.time_slice import ask_for_short_slices
from bench.process import ADDRESS, before_exec, signals_held

CONNECTIONS = 8
LAST_ANSWERS_S = 30.0

_length = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Slot:
    """One keep-alive connection, opened again when the proxy has closed it."""

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._request = f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> None:
        """One exchange. Raises OSError or EOFError unless the answer is 200."""
        if self._streams is not None:
            # The proxy may close an idle connection just now: like every client, try a new one then.
            with contextlib.suppress(OSError, EOFError):
                return await self._exchange(*self._streams)
            self.close()
        self._streams = await asyncio.open_connection(ADDRESS, self._port)
        return await self._exchange(*self._streams)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _length.search(head)
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise EOFError(head.split(b"\r\n")[0].decode(errors="replace"))
        await reader.readexactly(int(length[1]))
        if b"onnection: close" in head:
            self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def pace(port: int, host: str, rate: float, stop: asyncio.Event) -> Sample:
    """`rate` requests a second until `stop`, over whichever connection is free."""
    due: asyncio.Queue[float | None] = asyncio.Queue()
    times_s: list[float] = []
    problems: list[str] = []

    async def serve(slot: Slot) -> None:
        while (due_at := await due.get()) is not None:
            try:
                await slot.ask()
            except (OSError, EOFError) as problem:
                problems.append(repr(problem))
                slot.close()
            else:
                times_s.append(time.perf_counter() - due_at)
        slot.close()

    slots = [asyncio.create_task(serve(Slot(port, host))) for _ in range(CONNECTIONS)]
    started_at = time.perf_counter()
    turn = 0
    while not stop.is_set():
        # The loop's timers are in milliseconds: a request is due when they fire, which no proxy can delay.
        await asyncio.sleep(max(0.0, started_at + turn / rate - time.perf_counter()))
        due.put_nowait(time.perf_counter())
        turn += 1
    lasted_s = time.perf_counter() - started_at
    for _ in slots:
        due.put_nowait(None)
    _done, late = await asyncio.wait(slots, timeout=LAST_ANSWERS_S)
    for task in late:
        task.cancel()
        problems.append(f"no answer within {LAST_ANSWERS_S:g} s")
    return sample_of(times_s, lasted_s, len(problems), problems[0] if problems else "")


class Paced:
    """The same in a process of its own, beside whatever else the harness does meanwhile."""

    def __init__(self, port: int, host: str, rate: float, cores: Sequence[int]) -> None:
        with signals_held():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.clients.paced", str(port), host, str(rate)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: before_exec(cores),
            )
        if self._process.stderr is not None and not self._process.stderr.readline():
            self._process.wait()
            raise ClientError("the paced client did not start")

    def result(self) -> Sample:
        """End it and take its sample. Raises ClientError."""
        self._process.terminate()
        try:
            output, said = self._process.communicate(timeout=2 * LAST_ANSWERS_S)
        except subprocess.TimeoutExpired as problem:
            raise ClientError("the paced client did not end") from problem
        finally:
            self.kill()
        if self._process.returncode:
            raise ClientError(f"the paced client failed: {said.strip().splitlines()[-1:]}")
        return Sample(**json.loads(output))

    def kill(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


async def _main(port: int, host: str, rate: float) -> Sample:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", file=sys.stderr, flush=True)
    return await pace(port, host, rate, stop)


if __name__ == "__main__":
    ask_for_short_slices()
    _port, _host, _rate = sys.argv[1:]
    print(json.dumps(dataclasses.asdict(uvloop.run(_main(int(_port), _host, float(_rate))))))
