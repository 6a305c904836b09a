"""backend-protocol and proxy-ssl-* with real requests: who is believed, who is shown what, what a failure answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from ingressd.table.snapshot import diff
from tests.support.authorities import chain_of, secret_yaml, server_context
from tests.support.backend import OK, Backend, Peer, abort, backend, echo
from tests.support.certificates import issue, trusting
from tests.support.edge import Running
from tests.support.loops import on_both_loops
from tests.support.manifest_edge import compiled_manifests, ingress_yaml, service_yaml, serving_manifests

CA = trustme.CA()
APP = CA.issue_cert("app", "app.test")
CLIENT = CA.issue_cert("client.test")
STRANGER = trustme.CA()
GET = b"GET /hello HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
VERIFIED = {"backend-protocol": "HTTPS", "proxy-ssl-verify": "on", "proxy-ssl-secret": "default/tls"}


class TlsBackend(Backend):
    """A backend that speaks TLS, and notes what its clients say and show."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.names: list[str | None] = []
        self.shown: list[object] = []

    def named(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.names.append(name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shown.append(writer.get_extra_info("peercert"))
        await super().serve(reader, writer)


@asynccontextmanager
async def tls_backend(context: ssl.SSLContext) -> AsyncIterator[TlsBackend]:
    it = TlsBackend()
    context.sni_callback = it.named
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, ssl=context, limit=1 << 24)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for peer in it.peers:
            abort(peer.writer)
        assert not it.errors, it.errors


def manifests(port: int, annotations: dict[str, str], secret: dict[str, bytes] | None = None) -> str:
    secrets = "" if secret is None else secret_yaml("tls", secret)
    return secrets + service_yaml({"app": port}) + ingress_yaml(annotations)


async def answered(
    context: ssl.SSLContext, annotations: dict[str, str], secret: dict[str, bytes] | None = None
) -> tuple[bytes, TlsBackend, str]:
    """The answer to a request, the backend, and the reason in the log."""
    async with (
        tls_backend(context) as app,
        serving_manifests(manifests(app.port, annotations, secret), faulty=True) as edge,
    ):
        answer = await edge.exchange(GET)
        return answer, app, (await edge.logged())[0].reason


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@on_both_loops
async def test_https_is_spoken_without_verification_and_without_sni() -> None:
    answer, app, reason = await answered(
        server_context(STRANGER.issue_cert("nobody.test")), {"backend-protocol": "https"}
    )
    assert (status_of(answer), reason) == (200, "")
    assert b"GET /hello HTTP/1.1" in app.peers[0].received
    assert app.names == [None]
    assert app.shown == [None]


@on_both_loops
async def test_an_endpoint_of_the_ca_with_the_name_of_the_service_is_believed() -> None:
    answer, app, _ = await answered(server_context(APP), VERIFIED, {"ca.crt": CA.cert_pem.bytes()})
    assert status_of(answer) == 200
    assert app.names == ["app"]


@pytest.mark.parametrize("more", [{"proxy-ssl-name": "app.test"}, {"upstream-vhost": "app.test"}])
@on_both_loops
async def test_another_name_is_said_and_asked_for(more: dict[str, str]) -> None:
    answer, app, _ = await answered(server_context(APP), VERIFIED | more, {"ca.crt": CA.cert_pem.bytes()})
    assert status_of(answer) == 200
    assert app.names == ["app.test"]


def expired() -> ssl.SSLContext:
    return server_context(CA.issue_cert("app", not_after=datetime.now(UTC) - timedelta(days=1)))


def deep(count: int) -> ssl.SSLContext:
    issuer = CA
    for _ in range(count):
        issuer = issuer.create_child_ca()
    return server_context(issuer.issue_cert("app"))


@pytest.mark.parametrize(
    "context",
    [
        pytest.param(lambda: server_context(STRANGER.issue_cert("app")), id="another CA"),
        pytest.param(lambda: server_context(CA.issue_cert("other.test")), id="another name"),
        pytest.param(expired, id="expired"),
        pytest.param(lambda: deep(2), id="too many between"),
    ],
)
@on_both_loops
async def test_an_endpoint_that_cannot_be_verified_is_a_502_and_hears_nothing(
    context: Callable[[], ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    answer, app, reason = await answered(context(), VERIFIED, {"ca.crt": CA.cert_pem.bytes()})
    assert (status_of(answer), reason) == (502, "connect_failed")
    assert not any(peer.received for peer in app.peers)
    assert "its certificate is not accepted: " in caplog.text


@pytest.mark.parametrize(("between", "depth", "status"), [(0, "0", 200), (1, "0", 502), (1, "1", 200), (2, "2", 200)])
@on_both_loops
async def test_the_depth_is_the_number_of_certificates_between(between: int, depth: str, status: int) -> None:
    annotations = VERIFIED | {"proxy-ssl-verify-depth": depth}
    answer, _, _ = await answered(deep(between), annotations, {"ca.crt": CA.cert_pem.bytes()})
    assert status_of(answer) == status


@on_both_loops
async def test_the_endpoint_is_shown_our_certificate() -> None:
    secret = {"tls.crt": chain_of(CLIENT), "tls.key": CLIENT.private_key_pem.bytes()}
    annotations = {"backend-protocol": "HTTPS", "proxy-ssl-secret": "tls", "proxy-ssl-server-name": "on"}
    answer, app, _ = await answered(server_context(APP, CA), annotations, secret)
    assert status_of(answer) == 200
    assert "client.test" in str(app.shown[0])
    assert app.names == ["app"]


@on_both_loops
async def test_without_our_certificate_such_an_endpoint_refuses() -> None:
    answer, app, reason = await answered(server_context(APP, CA), {"backend-protocol": "HTTPS"})
    assert (status_of(answer), reason) == (502, "upstream_reset")
    assert not any(peer.received for peer in app.peers)


@on_both_loops
async def test_a_version_that_is_not_listed_is_not_spoken() -> None:
    old = server_context(APP)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    answer, _, _ = await answered(old, {"backend-protocol": "HTTPS", "proxy-ssl-protocols": "TLSv1.3"})
    assert status_of(answer) == 502
    answer, _, _ = await answered(old, {"backend-protocol": "HTTPS", "proxy-ssl-protocols": "TLSv1.2 TLSv1.3"})
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    ("annotations", "secret"),
    [
        (VERIFIED, None),
        (VERIFIED, {"ca.crt": b"broken"}),
        (VERIFIED | {"proxy-ssl-secret": "other/tls"}, {"ca.crt": CA.cert_pem.bytes()}),
        ({"backend-protocol": "HTTPS", "proxy-ssl-verify": "on"}, None),
        ({"backend-protocol": "HTTPS", "proxy-ssl-verify": "yes"}, None),
        ({"backend-protocol": "GRPC"}, None),
        ({"backend-protocol": "HTTPSS"}, None),
    ],
)
@on_both_loops
async def test_what_cannot_be_honoured_closes_the_route(
    annotations: dict[str, str], secret: dict[str, bytes] | None
) -> None:
    answer, app, reason = await answered(server_context(APP), annotations, secret)
    assert (status_of(answer), reason) == (503, "policy_invalid")
    assert not app.peers


async def secure(edge: Running) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port, ssl=trusting(), server_hostname="a.test")
    edge.clients.append(writer)
    writer.write(GET)
    return await asyncio.wait_for(reader.read(-1), 10)


async def plain_only(peer: Peer) -> None:
    """Closes on whoever speaks TLS."""
    if await peer.read(4) == b"GET ":
        await peer.until(b"\r\n\r\n")
        await peer.send(OK)


@on_both_loops
async def test_with_auto_http_the_client_decides_whether_tls_is_spoken() -> None:
    annotations = {"backend-protocol": "AUTO_HTTP", "ssl-redirect": "false"}
    async with backend(plain_only) as plain, tls_backend(server_context(APP)) as tls:
        for port, statuses in ((plain.port, (200, 502)), (tls.port, (502, 200))):
            table = compiled_manifests(manifests(port, annotations)).snapshot
            table = replace(table, default_certificate=issue("a.test"))
            async with serving_manifests(manifests(port, annotations)) as edge:
                edge.edge.publish(table, None)
                assert (status_of(await edge.exchange(GET)), status_of(await secure(edge))) == statuses
    assert plain.peers
    assert tls.peers


@on_both_loops
async def test_an_edit_of_the_secret_holds_for_the_next_request() -> None:
    async with tls_backend(server_context(APP)) as app:
        before, after = (
            compiled_manifests(manifests(app.port, VERIFIED, {"ca.crt": ca.cert_pem.bytes()})).snapshot
            for ca in (CA, STRANGER)
        )
        async with serving_manifests(manifests(app.port, {})) as edge:
            edge.edge.publish(before, None)
            assert status_of(await edge.exchange(GET)) == 200
            edge.edge.publish(after, diff(before, after))
            assert status_of(await edge.exchange(GET)) == 502
            edge.edge.publish(before, diff(after, before))
            assert status_of(await edge.exchange(GET)) == 200
