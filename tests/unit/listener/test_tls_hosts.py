"""What a name in a ClientHello stands for: whose certificates are asked for, and what is passed on."""

from __future__ import annotations

import pytest

from ingressd.filters.auth_tls import AuthTls
from ingressd.listener.tls import ContextStore
from ingressd.listener.tls_hosts import TlsHosts
from ingressd.settings import Settings
from ingressd.table.client_trust import ClientTrust
from ingressd.table.route import VirtualHost
from ingressd.table.snapshot import Snapshot, diff
from tests.support.certificates import authority, issue
from tests.support.edge import route
from tests.support.stream_edge import listener

FIRST, SECOND = ClientTrust(b"first"), ClientTrust(b"second")
RAW = listener(port=1)


def table(generation: int = 1, /, **hosts: VirtualHost) -> Snapshot:
    return Snapshot(generation, hosts={host.name: host for host in hosts.values()})


def following(snapshot: Snapshot) -> TlsHosts:
    hosts = TlsHosts()
    hosts.follow(snapshot, None)
    return hosts


@pytest.mark.parametrize(
    ("name", "trust"),
    [
        ("a.test", FIRST),
        ("x.wild.test", SECOND),
        ("open.wild.test", None),
        ("x.y.wild.test", None),
        ("wild.test", None),
        ("", None),
        ("other.test", None),
    ],
)
def test_a_name_stands_for_the_host_that_takes_its_requests(name: str, trust: ClientTrust | None) -> None:
    hosts = following(
        table(
            exact=VirtualHost("a.test", (), client_trust=FIRST),
            wild=VirtualHost("*.wild.test", (), client_trust=SECOND),
            hole=VirtualHost("open.wild.test", ()),
        )
    )
    assert hosts.trust(name) is trust


@pytest.mark.parametrize(("name", "trust"), [("a.test", None), ("b.test", FIRST), ("", FIRST)])
def test_unknown_names_stand_for_the_rules_without_a_host(name: str, trust: ClientTrust | None) -> None:
    hosts = following(table(a=VirtualHost("a.test", ()), rest=VirtualHost("", (), client_trust=FIRST)))
    assert hosts.trust(name) is trust


@pytest.mark.parametrize("more", [{}, {"rest": VirtualHost("", ())}])
def test_unknown_names_stand_for_the_route_of_last_resort(more: dict[str, VirtualHost]) -> None:
    last = route(filters=(AuthTls(FIRST, FIRST.key),))
    snapshot = Snapshot(1, hosts=dict(table(a=VirtualHost("a.test", ()), **more).hosts), default=last)
    hosts = following(snapshot)
    assert [hosts.trust(name) for name in ("a.test", "b.test", "")] == [None, FIRST, FIRST]


def test_connections_are_passed_on_by_name_alone() -> None:
    hosts = following(
        table(a=VirtualHost("a.test", (), passthrough=RAW), hole=VirtualHost("b.test", (), client_trust=FIRST))
    )
    assert [hosts.passthrough(name) for name in ("a.test", "b.test", "", "x.a.test")] == [RAW, None, None, None]


def test_an_edit_holds_at_once() -> None:
    first = table(a=VirtualHost("a.test", (), client_trust=FIRST))
    second = table(2, a=VirtualHost("a.test", (), client_trust=SECOND, passthrough=RAW))
    third = table(3, a=VirtualHost("a.test", ()))
    hosts = following(first)
    hosts.follow(second, diff(first, second))
    assert (hosts.trust("a.test"), hosts.passthrough("a.test")) == (SECOND, RAW)
    hosts.follow(third, diff(second, third))
    assert (hosts.trust("a.test"), hosts.passthrough("a.test")) == (None, None)
    hosts.follow(first, None)
    assert hosts.trust("a.test") is FIRST


def test_hosts_with_one_certificate_and_different_trusts_have_contexts_of_their_own() -> None:
    own = issue("a.test", "b.test", "c.test")
    trust = ClientTrust(authority().cert_pem.bytes())
    contexts = ContextStore(Settings())
    contexts.update(dict.fromkeys(own.names, own), None)
    snapshot = table(
        a=VirtualHost("a.test", (), client_trust=trust),
        b=VirtualHost("b.test", ()),
        c=VirtualHost("c.test", (), client_trust=ClientTrust(trust.ca_pem, depth=2)),
    )
    contexts.hosts.follow(snapshot, None)
    made = [contexts.context_for(name) for name in own.names]
    assert len(set(made)) == 3
    assert contexts.context_for("a.test") is made[0]


def test_a_trust_that_openssl_does_not_take_refuses_instead_of_asking_nobody(caplog: pytest.LogCaptureFixture) -> None:
    contexts = ContextStore(Settings())
    own = issue("a.test")
    contexts.update({"a.test": own}, own)
    contexts.hosts.follow(table(a=VirtualHost("a.test", (), client_trust=ClientTrust(b"nothing"))), None)
    assert contexts.context_for("a.test") is None
    assert contexts.context_for("b.test") is not None
    assert "cannot use the certificate" in caplog.text
