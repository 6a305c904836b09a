"""An Edge in a process of its own, which can be left without descriptors: `python -m tests.support.starved_edge LOOP`.

Commands come on standard input, a line each, and each is answered with one line of JSON: `status`, `starve` (take all
descriptors but `free` of them), `feed` (give them back), `stop`. The program log goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
from typing import Any

import uvloop

from ingressd.listener.edge import Edge
from ingressd.listener.plain import AcceptLoop
from ingressd.observe.access_log import AccessLog
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits, Settings
from ingressd.table.snapshot import Snapshot
from tests.support.edge import listening

DESCRIPTORS = 100


class Counting:
    """Counts how often a loop that accepts was woken."""

    def __init__(self) -> None:
        self.wakeups = 0
        accept = AcceptLoop._accept

        def counting(loop: AcceptLoop) -> None:
            self.wakeups += 1
            accept(loop)

        AcceptLoop._accept = counting  # type: ignore[method-assign]


async def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    stats, log, counted = WorkerStats(), AccessLog("off", "json"), Counting()
    edge = Edge(Settings(limits=Limits(keepalive_idle_s=600), access_log="off"), stats, log)
    edge.publish(Snapshot(), None)
    http, https = listening(), listening()
    await edge.start([http], [https])
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    ports = {"port": http.getsockname()[1], "tls_port": https.getsockname()[1]}
    taken: list[int] = []

    def tell(**more: Any) -> None:
        numbers = {**ports, **stats.export(), "wakeups": counted.wakeups, "capacity": edge._gate.capacity, **more}
        print(json.dumps({name: value for name, value in numbers.items() if isinstance(value, int)}), flush=True)

    tell()
    while command := (await commands.readline()).decode().strip():
        if command == "starve":
            try:
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
        elif command == "feed":
            while taken:
                os.close(taken.pop())
        tell()
        if command == "stop":
            break
    await edge.drain(0.2)
    log.close()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    factory = uvloop.new_event_loop if sys.argv[1] == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
