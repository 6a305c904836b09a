"""ssl-passthrough: connections that go to an endpoint as they are, by the host in their ClientHello."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from ingressd.compile.options import Certificates
from ingressd.table.snapshot import diff
from ingressd.table.stream import SSL_PASSTHROUGH
from tests.support.authorities import server_context
from tests.support.backend import abort, backend, echo
from tests.support.certificates import issue, names_of, trusting
from tests.support.edge import Running
from tests.support.loops import on_both_loops
from tests.support.manifest_edge import compiled_manifests, ingress_yaml, service_yaml, serving_manifests

CA = trustme.CA()
OPTIONS: dict[str, Any] = {"certificates": Certificates(self_made=issue("own.test")), "ssl_passthrough": True}
PASS = {"ssl-passthrough": "true"}


class Behind:
    """A TLS server that greets, echoes one line, and keeps what it was told in handshakes."""

    def __init__(self) -> None:
        self.port = 0
        self.names: list[str | None] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        line = await reader.readline()
        writer.write(b"heard " + line)
        await writer.drain()
        writer.close()

    def named(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.names.append(name)


@asynccontextmanager
async def behind() -> AsyncIterator[Behind]:
    it = Behind()
    context = server_context(CA.issue_cert("secret.test", "x.wild.test"))
    context.set_alpn_protocols(["odd/1"])
    context.sni_callback = it.named
    server = await asyncio.start_server(it.greet, "127.0.0.1", 0, ssl=context)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for writer in it.writers:
            abort(writer)


def manifests(port: int, plain: int, annotations: dict[str, str] | None = None, host: str = "secret.test") -> str:
    return (
        service_yaml({"app": port, "plain": plain})
        + ingress_yaml(PASS if annotations is None else annotations, host=host)
        + ingress_yaml({}, name="open", host="open.test", service="plain")
    )


async def connect(
    edge: Running, name: str, *, of: trustme.CA | None = None, alpn: str = "odd/1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = trusting()
    if of is not None:
        of.configure_trust(context)
    context.set_alpn_protocols([alpn, "http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port, ssl=context, server_hostname=name)
    edge.clients.append(writer)
    return reader, writer


def shown(writer: asyncio.StreamWriter) -> list[str]:
    return names_of(writer.get_extra_info("ssl_object"))


async def status(edge: Running, name: str, host: str) -> int:
    reader, writer = await connect(edge, name)
    assert shown(writer) == ["own.test"]
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return int((await asyncio.wait_for(reader.read(), 10)).split(b" ", 2)[1])


@pytest.mark.parametrize(("host", "name"), [("secret.test", "secret.test"), ("'*.wild.test'", "x.wild.test")])
@on_both_loops
async def test_the_handshake_is_the_endpoints_own(host: str, name: str) -> None:
    async with (
        behind() as app,
        backend(echo) as plain,
        serving_manifests(manifests(app.port, plain.port, host=host), options=OPTIONS) as edge,
    ):
        reader, writer = await connect(edge, name.upper(), of=CA)
        assert "secret.test" in shown(writer)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "odd/1"
        assert app.names == [name.upper()]
        writer.write(b"hello\n")
        assert await asyncio.wait_for(reader.read(), 10) == b"heard hello\n"
        assert edge.edge.statistics() == {"http": 0, "https": 0}


@on_both_loops
async def test_other_hosts_and_clients_without_a_name_are_served_as_ever() -> None:
    async with (
        behind() as app,
        backend(echo) as plain,
        serving_manifests(manifests(app.port, plain.port), options=OPTIONS) as edge,
    ):
        assert await status(edge, "open.test", "open.test") == 200
        assert await status(edge, "", "open.test") == 200
        assert await status(edge, "other.test", "open.test") == 200
        assert await status(edge, "sub.secret.test", "open.test") == 200
        assert app.names == []


@on_both_loops
async def test_without_the_flag_tls_ends_here_and_that_is_said() -> None:
    async with behind() as app, backend(echo) as plain:
        options = OPTIONS | {"ssl_passthrough": False}
        text = manifests(app.port, plain.port)
        async with serving_manifests(text, options=options) as edge:
            assert await status(edge, "secret.test", "open.test") == 200
            assert app.names == []
        assert "passthrough_off" in [fault.code for fault in compiled_manifests(text, **options).faults]


@on_both_loops
async def test_a_connection_is_counted_as_a_stream_of_the_service() -> None:
    async with (
        behind() as app,
        backend(echo) as plain,
        serving_manifests(manifests(app.port, plain.port), options=OPTIONS) as edge,
    ):
        _, writer = await connect(edge, "secret.test", of=CA)
        count = edge.stats.streams.export()["default", "app", "80", "TCP"]
        assert count[:2] == (1, 1)
        abort(writer)
        async with asyncio.timeout(10):
            while edge.stats.streams.export()["default", "app", "80", "TCP"][1]:
                await asyncio.sleep(0.002)


@on_both_loops
async def test_an_endpoint_that_is_not_there_ends_the_connection() -> None:
    async with (
        backend(echo) as plain,
        serving_manifests(manifests(1, plain.port), options=OPTIONS) as edge,
    ):
        with pytest.raises(OSError):
            await connect(edge, "secret.test", of=CA)
        assert await status(edge, "open.test", "open.test") == 200


@on_both_loops
async def test_an_edit_holds_for_new_connections_and_leaves_old_ones_alone() -> None:
    async with behind() as app, backend(echo) as plain:
        first, second = (
            compiled_manifests(manifests(app.port, plain.port, annotations), **OPTIONS).snapshot
            for annotations in (PASS, {})
        )
        listener = first.hosts["secret.test"].passthrough
        assert listener is not None
        assert (listener.role, listener.pool) == (SSL_PASSTHROUGH, "default/app:80")
        async with serving_manifests(manifests(app.port, plain.port), options=OPTIONS) as edge:
            edge.edge.publish(first, None)
            reader, writer = await connect(edge, "secret.test", of=CA)
            edge.edge.publish(second, diff(first, second))
            assert await status(edge, "secret.test", "open.test") == 200
            writer.write(b"still there\n")
            assert await asyncio.wait_for(reader.read(), 10) == b"heard still there\n"
            edge.edge.publish(first, diff(second, first))
            _, again = await connect(edge, "secret.test", of=CA)
            assert "secret.test" in shown(again)
