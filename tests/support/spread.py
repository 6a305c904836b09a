"""Several endpoints behind one Service, each of which answers with its name."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.support.backend import Backend, Conversation, Peer, backend
from tests.support.edge import Running

_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")


def named(name: str) -> Conversation:
    """Answers every request with this name."""

    async def conversation(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode())

    return conversation


@asynccontextmanager
async def backends(*names: str) -> AsyncIterator[dict[str, Backend]]:
    """A backend for each name."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(backend(named(name))) for name in names}


def spread_yaml(services: Mapping[str, Sequence[int]]) -> str:
    """Services `NAME:80`, each with endpoints at these ports of 127.0.0.1."""
    text = ""
    for name, ports in services.items():
        text += f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n"
        for number, port in enumerate(ports):
            text += (
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,"
                f" metadata: {{name: {name}-{number}, labels: {{kubernetes.io/service-name: {name}}}}},"
                f" ports: [{{port: {port}}}], endpoints: [{{addresses: [127.0.0.1]}}]}}\n---\n"
            )
    return text


async def fetched(
    edge: Running, path: str = "/", *, method: str = "GET", host: str = "a.test", **fields: str
) -> tuple[str, dict[str, str]]:
    """Who answered (the status, if it was not 200), and the last of each field of the answer, by lower-case name."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n"
    head, _, body = (await edge.exchange(request.encode())).partition(b"\r\n\r\n")
    status, *received = head.decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in received)
    answered = {name.lower(): value for name, value in found.items()}
    return body.decode() if " 200 " in status else status.split()[1], answered
