"""What a handshake in memory makes known of its client."""

from __future__ import annotations

import ssl

import pytest
import trustme

from ingressd.http.client_certificate import NOT_ASKED
from ingressd.listener import client_tls
from ingressd.listener.alerts import AlertingContext
from ingressd.listener.client_tls import TrustingContext, client_tls_of
from ingressd.table.client_trust import ClientTrust

CA = trustme.CA()
SERVER, CLIENT = CA.issue_cert("a.test"), CA.issue_cert("client.test", common_name="client")
TRUST = ClientTrust(CA.cert_pem.bytes())


class Ends:
    """Both ends of a handshake, of one TLS version."""

    def __init__(
        self,
        context: ssl.SSLContext,
        leaf: trustme.LeafCert | None = CLIENT,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        before: Ends | None = None,
    ) -> None:
        self.mine: ssl.SSLContext = before.mine if before is not None else _client(leaf, version)
        wires = ssl.MemoryBIO(), ssl.MemoryBIO()
        session: ssl.SSLSession | None = None if before is None else before.client.session
        self.client: ssl.SSLObject = self.mine.wrap_bio(wires[0], wires[1], server_hostname="a.test", session=session)
        self.server = context.wrap_bio(wires[1], wires[0], server_side=True)
        for side in (self.client, self.server) * 3:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def _client(leaf: trustme.LeafCert | None, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    CA.configure_trust(context)
    if leaf is not None:
        leaf.configure_cert(context)
    return context


def asking(trust: ClientTrust = TRUST) -> TrustingContext:
    context = TrustingContext.of(trust)
    SERVER.configure_cert(context)
    return context


def test_without_tls_nothing_is_known_and_where_nobody_asks_nobody_is() -> None:
    assert client_tls_of(None) is None
    context = AlertingContext(ssl.PROTOCOL_TLS_SERVER)
    SERVER.configure_cert(context)
    assert client_tls_of(Ends(context).server) is NOT_ASKED


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_is_known_by_its_certificate_or_not_at_all(version: ssl.TLSVersion) -> None:
    context = asking()
    known = client_tls_of(Ends(context, version=version).server)
    assert known is not None
    assert known.certificate is not None
    assert (known.trust, known.certificate.common_names, known.problem) == (TRUST.key, ("client",), "")
    unknown = client_tls_of(Ends(context, None, version).server)
    assert unknown is not None
    assert (unknown.trust, unknown.certificate, unknown.problem) == (TRUST.key, None, "")


def test_a_resumed_session_whose_chain_is_forgotten_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    context = asking()
    first = Ends(context, version=ssl.TLSVersion.TLSv1_2)
    again = Ends(context, before=first)
    assert again.server.session_reused
    unseen = client_tls_of(again.server)
    assert unseen is not None
    assert (unseen.certificate, unseen.problem) == (None, "the certificate of a session that is forgotten")
    client_tls_of(first.server)
    seen = client_tls_of(again.server)
    assert seen is not None
    assert seen.certificate is not None
    monkeypatch.setattr(client_tls, "_REMEMBERED", 1)
    client_tls_of(Ends(context, CA.issue_cert("other.test")).server)
    assert client_tls_of(again.server) == unseen
    assert len(context.lengths) == 1


def test_a_chain_that_is_too_long_is_too_long_when_it_is_resumed() -> None:
    context = asking(ClientTrust(TRUST.ca_pem, depth=0))
    first = Ends(context, CA.create_child_ca().issue_cert("deep.test"), ssl.TLSVersion.TLSv1_2)
    client_tls_of(first.server)
    again = Ends(context, before=first)
    assert again.server.session_reused
    for ends in (first, again):
        known = client_tls_of(ends.server)
        assert known is not None
        assert (known.certificate, known.problem) == (None, "certificate chain too long")
