"""TLS to endpoints: one context for all that want the same, and none that trusts more than it should."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from ingressd.clock import Wheel
from ingressd.settings import Limits
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.snapshot import Snapshot, diff
from ingressd.table.upstream_tls import UNVERIFIED, UpstreamTls
from ingressd.upstream.registry import Registry
from ingressd.upstream.secure import SecureContexts

CA = trustme.CA().cert_pem.bytes()


def test_who_wants_the_same_shares_a_context_as_long_as_somebody_does() -> None:
    contexts = SecureContexts()
    one, two = UpstreamTls(verify=True, ca_pem=CA, name="a.test"), UpstreamTls(verify=True, ca_pem=CA, name="a.test")
    assert contexts.take(one, one.key) is contexts.take(two, two.key)
    assert contexts.take(UNVERIFIED, UNVERIFIED.key).context is not contexts.take(one, one.key).context
    contexts.give_back(UNVERIFIED.key)
    assert len(contexts) == 1
    for _ in range(3):
        contexts.give_back(one.key)
    assert len(contexts) == 0


@pytest.mark.parametrize(
    ("tls", "mode", "name", "longest"),
    [
        (UNVERIFIED, ssl.CERT_NONE, "", 0),
        (UpstreamTls(name="a.test"), ssl.CERT_NONE, "", 0),
        (UpstreamTls(name="a.test", sends_sni=True), ssl.CERT_NONE, "a.test", 0),
        (UpstreamTls(verify=True, ca_pem=CA, name="a.test"), ssl.CERT_REQUIRED, "a.test", 3),
        (UpstreamTls(verify=True, ca_pem=CA, name="a.test", depth=0), ssl.CERT_REQUIRED, "a.test", 2),
    ],
)
def test_a_context_asks_for_what_is_wanted(tls: UpstreamTls, mode: ssl.VerifyMode, name: str, longest: int) -> None:
    secure = SecureContexts().take(tls, tls.key)
    assert (secure.context.verify_mode, secure.server_name, secure.longest) == (mode, name, longest)
    assert secure.context.check_hostname is tls.verify
    assert secure.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert secure.context.maximum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    "tls",
    [
        UpstreamTls(verify=True, ca_pem=b"nothing", name="a.test"),
        UpstreamTls(certificate_pem=b"nothing", key_pem=b"nothing"),
        UpstreamTls(ciphers="NO-SUCH-CIPHER"),
    ],
)
def test_what_cannot_be_built_trusts_nobody(tls: UpstreamTls, caplog: pytest.LogCaptureFixture) -> None:
    secure = SecureContexts().take(tls, tls.key)
    assert secure.context.verify_mode is ssl.CERT_REQUIRED
    assert secure.context.check_hostname
    assert secure.context.cert_store_stats()["x509_ca"] == 0
    assert secure.server_name
    assert "none of them is trusted" in caplog.text


async def test_connections_by_different_tls_are_never_mixed_and_contexts_go_with_their_pools() -> None:
    registry = Registry(Limits(), Wheel(asyncio.get_running_loop()))
    verified = UpstreamTls(verify=True, ca_pem=CA, name="a.test")
    wanted = {"plain": None, "unverified": UNVERIFIED, "verified": verified, "again": verified}
    endpoints = (Endpoint("127.0.0.1", 1),)
    pools = {name: Pool(name, "default", "app", "80", endpoints, tls=tls) for name, tls in wanted.items()}
    full, empty = Snapshot(1, pools=pools), Snapshot(2)
    registry.publish(full, None)
    states = {name: registry.pools[name].endpoints[0] for name in wanted}
    assert len({id(state) for state in states.values()}) == 3
    assert states["verified"] is states["again"]
    assert states["plain"].tls is None
    assert len(registry._secure) == 2
    registry.publish(empty, diff(full, empty))
    assert len(registry._secure) == 0
    assert not registry._endpoints
