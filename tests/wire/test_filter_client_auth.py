"""auth-tls-* with real handshakes: who is let in, what endpoints hear of them, and that there is no way around it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
import trustme

from ingressd.compile.options import Certificates
from ingressd.table.snapshot import Snapshot, diff
from tests.support.authorities import revoke, secret_yaml
from tests.support.backend import Backend, backend, echo
from tests.support.certificates import issue, trusting
from tests.support.edge import Running
from tests.support.loops import on_both_loops
from tests.support.manifest_edge import compiled_manifests, ingress_yaml, service_yaml, serving_manifests

CA, OTHER_CA = trustme.CA(organization_name="First"), trustme.CA(organization_name="Second")
ALICE = CA.issue_cert("alice.test", common_name="alice", organization_name="Sales", organization_unit_name="CN=admin")
STRANGER = OTHER_CA.issue_cert("alice.test", common_name="alice")
GUARD = {"auth-tls-secret": "default/ca", "ssl-redirect": "false"}
OPTIONS: dict[str, Any] = {"certificates": Certificates(self_made=issue("a.test", "b.test", "c.test"))}
CONTENT = {"ca.crt": CA.cert_pem.bytes()}


def manifests(
    port: int, annotations: Mapping[str, str] = GUARD, content: Mapping[str, bytes] | None = None, more: str = ""
) -> str:
    """a.test is guarded, b.test is open."""
    return (
        secret_yaml("ca", CONTENT if content is None else content)
        + service_yaml({"app": port})
        + ingress_yaml(annotations)
        + ingress_yaml({}, name="open", host="b.test")
        + more
    )


@asynccontextmanager
async def serving(
    annotations: Mapping[str, str] = GUARD,
    content: Mapping[str, bytes] | None = None,
    *,
    more: str = "",
    options: Mapping[str, Any] | None = None,
) -> AsyncIterator[tuple[Running, Backend]]:
    async with backend(echo) as app:
        text = manifests(app.port, annotations, content, more)
        async with serving_manifests(text, options=OPTIONS | dict(options or {}), faulty=True) as edge:
            yield edge, app


def client(leaf: trustme.LeafCert | None) -> ssl.SSLContext:
    context = trusting()
    if leaf is not None:
        leaf.configure_cert(context)
    return context


class Connection:
    """A client's TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, edge: Running, name: str = "a.test", leaf: trustme.LeafCert | None = None) -> Connection:
        """One that names this host; an empty name names none."""
        streams = await asyncio.open_connection(
            "127.0.0.1", edge.tls_port, ssl=client(leaf), server_hostname=name, limit=1 << 20
        )
        edge.clients.append(streams[1])
        return cls(*streams)

    async def get(self, host: str = "a.test", target: str = "/", more: str = "") -> bytes:
        """The answer's head and body."""
        self.writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or b"0")
        return head + await self.reader.readexactly(length)


async def answer(edge: Running, leaf: trustme.LeafCert | None = None, *, name: str = "a.test", **asked: str) -> bytes:
    return await (await Connection.to(edge, name, leaf)).get(**asked)


def outcome(reply: bytes) -> tuple[int, str]:
    """Status and reason; the reason is empty when an endpoint answered."""
    reason = reply.partition(b"x-ingressd-reason: ")[2].partition(b"\r\n")[0]
    return int(reply.split(b" ", 2)[1]), reason.decode()


def told(reply: bytes, field: str) -> list[str]:
    """The values of a field that the endpoint was sent, which answers with the head of its request."""
    lines = reply.partition(b"\r\n\r\n")[2].decode("latin-1").split("\r\n")
    return [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{field}:")]


MISSING = (400, "client_certificate_required")
MISDIRECTED = (421, "misdirected")


@on_both_loops
async def test_a_client_of_the_authority_is_let_in_and_the_endpoint_hears_who_it_is() -> None:
    async with serving() as (edge, _):
        reply = await answer(edge, ALICE)
        assert outcome(reply) == (200, "")
        assert told(reply, "ssl-client-verify") == ["SUCCESS"]
        assert told(reply, "ssl-client-subject-dn") == ["CN=alice,OU=CN=admin,O=Sales"]
        assert [each.rpartition("O=")[2] for each in told(reply, "ssl-client-issuer-dn")] == ["First"]
        assert told(reply, "ssl-client-cert") == []


@on_both_loops
async def test_without_a_certificate_the_answer_is_400_over_http() -> None:
    async with serving() as (edge, app):
        reply = await answer(edge)
        assert outcome(reply) == MISSING
        assert b"No required SSL certificate was sent" in reply
        assert not app.peers


def expired() -> trustme.LeafCert:
    return CA.issue_cert("alice.test", not_after=datetime.now(UTC) - timedelta(days=1))


@pytest.mark.parametrize("leaf", [lambda: STRANGER, expired], ids=["another authority", "expired"])
@pytest.mark.parametrize("verify", ["on", "optional", "optional_no_ca"])
@on_both_loops
async def test_a_certificate_that_does_not_verify_fails_the_handshake(leaf: Any, verify: str) -> None:
    async with serving(GUARD | {"auth-tls-verify-client": verify}) as (edge, app):
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await answer(edge, leaf())
        assert not app.peers
        assert edge.stats.handshake_failures_total == 1


@pytest.mark.parametrize("verify", ["optional", "optional_no_ca"])
@on_both_loops
async def test_with_optional_a_client_may_come_without_and_the_endpoint_hears_so(verify: str) -> None:
    async with serving(GUARD | {"auth-tls-verify-client": verify}) as (edge, _):
        reply = await answer(edge, more="ssl-client-verify: SUCCESS\r\nssl-client-subject-dn: CN=alice\r\n")
        assert outcome(reply) == (200, "")
        assert told(reply, "ssl-client-verify") == ["NONE"]
        assert told(reply, "ssl-client-subject-dn") == []
        assert told(await answer(edge, ALICE), "ssl-client-verify") == ["SUCCESS"]


@on_both_loops
async def test_with_off_nobody_is_asked() -> None:
    async with serving(GUARD | {"auth-tls-verify-client": "off"}) as (edge, _):
        reply = await answer(edge, STRANGER)
        assert outcome(reply) == (200, "")
        assert told(reply, "ssl-client-verify") == []


@pytest.mark.parametrize(
    ("between", "depth", "expected"),
    [(0, None, 200), (1, None, 200), (2, None, 400), (0, "0", 200), (1, "0", 400), (2, "2", 200)],
)
@on_both_loops
async def test_the_depth_is_the_number_of_certificates_between(between: int, depth: str | None, expected: int) -> None:
    issuer = CA
    for _ in range(between):
        issuer = issuer.create_child_ca()
    more = {} if depth is None else {"auth-tls-verify-depth": depth}
    async with serving(GUARD | more) as (edge, _):
        assert outcome(await answer(edge, issuer.issue_cert("deep.test")))[0] == expected


@on_both_loops
async def test_the_certificate_is_passed_on_when_that_is_asked_for() -> None:
    async with serving(GUARD | {"auth-tls-pass-certificate-to-upstream": "true"}) as (edge, _):
        reply = await answer(edge, ALICE, more="ssl-client-cert: forged\r\n")
        (sent,) = told(reply, "ssl-client-cert")
        assert unquote(sent).encode() == ALICE.cert_chain_pems[0].bytes()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("CN=alice", (200, "")),
        ("CN=(bob|alice)$", (200, "")),
        ("CN=bob", (403, "client_certificate_refused")),
        ("CN=lice", (403, "client_certificate_refused")),
        ("CN=admin", (403, "client_certificate_refused")),
    ],
)
@on_both_loops
async def test_the_cn_itself_has_to_match(wanted: str, expected: tuple[int, str]) -> None:
    async with serving(GUARD | {"auth-tls-match-cn": wanted}) as (edge, _):
        assert outcome(await answer(edge, ALICE)) == expected


@on_both_loops
async def test_without_a_certificate_clients_can_be_sent_to_a_page() -> None:
    page = "https://login.test/none?from=$host"
    async with serving(GUARD | {"auth-tls-error-page": page}) as (edge, _):
        reply = await answer(edge)
        assert outcome(reply) == (302, "client_certificate_required")
        assert b"Location: https://login.test/none?from=a.test\r\n" in reply


@on_both_loops
async def test_a_revoked_certificate_fails_the_handshake() -> None:
    bob = CA.issue_cert("bob.test")
    async with serving(content=CONTENT | {"ca.crl": revoke(CA, bob)}) as (edge, _):
        assert outcome(await answer(edge, ALICE)) == (200, "")
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await answer(edge, bob)


@on_both_loops
async def test_variables_know_the_certificate_that_was_let_in() -> None:
    to = "https://x.test/$ssl_client_verify/$ssl_client_s_dn/$ssl_client_fingerprint/$ssl_client_serial"
    async with serving(GUARD | {"permanent-redirect": to}) as (edge, _):
        location = (await answer(edge, ALICE)).partition(b"Location: ")[2].partition(b"\r\n")[0].decode()
        verify, subject, fingerprint, serial = location.removeprefix("https://x.test/").split("/")
        assert (verify, len(fingerprint)) == ("SUCCESS", 40)
        assert unquote(subject).startswith("CN=alice,")
        assert int(serial, 16)


# No way around it


@pytest.mark.parametrize("name", ["b.test", "", "unknown.test"])
@pytest.mark.parametrize("host", ["a.test", "A.Test", "a.test.", "a.test:443"])
@on_both_loops
async def test_a_connection_for_another_host_is_misdirected(name: str, host: str) -> None:
    async with serving() as (edge, app):
        reply = await answer(edge, ALICE, name=name, host=host)
        assert outcome(reply) == MISDIRECTED
        assert b"Connection: close\r\n" in reply
        assert not app.peers


@on_both_loops
async def test_a_target_that_names_the_host_is_no_way_around() -> None:
    async with serving() as (edge, _):
        assert outcome(await answer(edge, name="b.test", host="b.test", target="https://a.test/")) == MISDIRECTED
        assert outcome(await answer(edge, name="b.test", host="b.test", target="http://A.TEST.:80/x")) == MISDIRECTED


@on_both_loops
async def test_a_kept_connection_cannot_change_to_the_host() -> None:
    async with serving() as (edge, _):
        connection = await Connection.to(edge, "b.test")
        assert outcome(await connection.get("b.test")) == (200, "")
        assert outcome(await connection.get("a.test")) == MISDIRECTED
        assert await asyncio.wait_for(connection.reader.read(), 10) == b""


@on_both_loops
async def test_an_open_host_hears_nothing_of_a_certificate_for_another_one() -> None:
    async with serving() as (edge, _):
        reply = await answer(edge, ALICE, name="a.test", host="b.test", more="ssl-client-verify: SUCCESS\r\n")
        assert outcome(reply) == (200, "")
        assert told(reply, "ssl-client-verify") == []


@on_both_loops
async def test_a_certificate_for_one_host_does_not_open_another_one_of_another_authority() -> None:
    more = secret_yaml("other", {"ca.crt": OTHER_CA.cert_pem.bytes()})
    more += ingress_yaml(GUARD | {"auth-tls-secret": "other"}, name="third", host="c.test")
    async with serving(more=more) as (edge, _):
        assert outcome(await answer(edge, ALICE, name="a.test", host="c.test")) == MISDIRECTED
        assert outcome(await answer(edge, STRANGER, name="c.test", host="a.test")) == MISDIRECTED
        assert outcome(await answer(edge, STRANGER, name="c.test", host="c.test")) == (200, "")


def resumed(
    port: int, context: ssl.SSLContext, name: str, session: ssl.SSLSession | None
) -> tuple[bytes, bool, ssl.SSLSession | None]:
    """The answer to a request, whether its connection resumed `session`, and its session."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        context.wrap_socket(sock, server_hostname=name, session=session) as tls,
    ):
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while more := tls.recv(65536):
            data += more
        return data, bool(tls.session_reused), tls.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@on_both_loops
async def test_a_session_of_another_host_is_not_resumed(version: ssl.TLSVersion) -> None:
    context = client(None)
    context.maximum_version = version
    async with serving() as (edge, _):
        _, _, session = await asyncio.to_thread(resumed, edge.tls_port, context, "b.test", None)
        reply, reused, _ = await asyncio.to_thread(resumed, edge.tls_port, context, "b.test", session)
        assert (outcome(reply)[0], reused) == (200, True)
        reply, reused, _ = await asyncio.to_thread(resumed, edge.tls_port, context, "a.test", session)
        assert (outcome(reply), reused) == (MISSING, False)


@pytest.mark.parametrize(("version", "resumes"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, False)])
@on_both_loops
async def test_a_session_of_its_own_counts_only_with_the_certificate_that_was_shown(
    version: ssl.TLSVersion, resumes: bool
) -> None:
    context, deep = client(ALICE), client(CA.create_child_ca().create_child_ca().issue_cert("deep.test"))
    context.maximum_version = deep.maximum_version = version
    async with serving() as (edge, _):
        for mine, expected in ((context, (200, "")), (deep, MISSING)):
            reply, _, session = await asyncio.to_thread(resumed, edge.tls_port, mine, "a.test", None)
            assert outcome(reply) == expected
            reply, reused, _ = await asyncio.to_thread(resumed, edge.tls_port, mine, "a.test", session)
            assert (outcome(reply), reused) == (expected, resumes)


@on_both_loops
async def test_plain_http_is_closed_or_sent_to_https() -> None:
    request = b"GET %b HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
    async with serving() as (edge, app):
        assert outcome(await edge.exchange(request % b"/")) == (403, "client_certificate_required")
        assert not app.peers
    redirecting = {"auth-tls-secret": "ca", "force-ssl-redirect": "true"}
    async with serving(redirecting, options={"https_port": 443}) as (edge, app):
        assert outcome(await edge.exchange(request % b"/")) == (308, "redirect")
        challenge = await edge.exchange(request % b"/.well-known/acme-challenge/x")
        assert outcome(challenge) == (403, "client_certificate_required")
        assert not app.peers


@on_both_loops
async def test_every_route_of_the_host_is_guarded_and_its_aliases_with_it() -> None:
    more = ingress_yaml({"ssl-redirect": "false"}, name="beside", path="/beside")
    more += (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: rest}\nspec:\n"
        "  defaultBackend: {service: {name: app, port: {number: 80}}}\n---\n"
    )
    annotations = GUARD | {"server-alias": "c.test"}
    text = manifests(1, annotations, more=more).replace("path: /,", "path: /only,")
    async with backend(echo) as app:
        text = text.replace("port: 1}", f"port: {app.port}}}")
        async with serving_manifests(text, options=OPTIONS) as edge:
            for host in ("a.test", "c.test"):
                for target in ("/only", "/beside", "/rest"):
                    assert outcome(await answer(edge, name=host, host=host, target=target)) == MISSING
                    assert outcome(await answer(edge, ALICE, name=host, host=host, target=target)) == (200, "")
            assert outcome(await answer(edge, name="b.test", host="b.test", target="/rest")) == (200, "")
            assert outcome(await answer(edge, name="new.test", host="new.test")) == (200, "")


@pytest.mark.parametrize(
    ("annotations", "content"),
    [
        (GUARD | {"auth-tls-secret": "default/missing"}, CONTENT),
        (GUARD | {"auth-tls-secret": "other/ca"}, CONTENT),
        (GUARD, {"tls.crt": b"x"}),
        (GUARD, {"ca.crt": b"x"}),
        (GUARD, CONTENT | {"ca.crl": b"x"}),
        (GUARD | {"auth-tls-verify-client": "maybe"}, CONTENT),
        (GUARD | {"auth-tls-match-cn": "alice"}, CONTENT),
        (GUARD | {"auth-tls-match-cn": "CN=("}, CONTENT),
        ({"auth-tls-verify-client": "on"}, CONTENT),
    ],
)
@on_both_loops
async def test_what_cannot_be_honoured_closes_the_whole_host_and_no_other(
    annotations: Mapping[str, str], content: Mapping[str, bytes]
) -> None:
    more = ingress_yaml({}, name="beside", path="/beside")
    async with serving(annotations, content, more=more) as (edge, _):
        for target in ("/", "/beside"):
            assert outcome(await answer(edge, ALICE, target=target)) == (503, "policy_invalid")
        assert outcome(await answer(edge, name="b.test", host="b.test")) == (200, "")


@on_both_loops
async def test_an_edit_holds_for_new_handshakes_and_ends_connections_of_the_old_one() -> None:
    async with serving() as (edge, app):

        def table(content: Mapping[str, bytes]) -> Snapshot:
            return compiled_manifests(manifests(app.port, content=content), **OPTIONS).snapshot

        first, second = table(CONTENT), table({"ca.crt": OTHER_CA.cert_pem.bytes()})
        connection, beside = await Connection.to(edge, leaf=ALICE), await Connection.to(edge, "b.test")
        assert outcome(await connection.get()) == (200, "")
        edge.edge.publish(second, diff(first, second))
        assert outcome(await connection.get()) == MISDIRECTED
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await answer(edge, ALICE)
        assert outcome(await answer(edge, STRANGER)) == (200, "")
        assert outcome(await beside.get("b.test")) == (200, "")
