"""proxy-ssl-*: what is understood, and what TLS it makes."""

from __future__ import annotations

from typing import Any

import pytest
import trustme

from ingressd.filters.base import Unusable
from ingressd.filters.proxy_ssl import SPEC
from ingressd.filters.variables import Template
from ingressd.table.pool_variant import PLAIN
from ingressd.table.upstream_tls import UNVERIFIED, UpstreamTls
from tests.support.authorities import chain_of
from tests.unit.filters.lookup import Known, site

_ANNOTATIONS = {each.name: each for each in SPEC.annotations}
_AUTHORITY = trustme.CA()
_LEAF = _AUTHORITY.issue_cert("client.test")
_OTHER = _AUTHORITY.issue_cert("other.test")
_CA = _AUTHORITY.cert_pem.bytes()
_CHAIN, _KEY = chain_of(_LEAF), _LEAF.private_key_pem.bytes()


def made(secret: dict[str, bytes] | None = None, **texts: str) -> UpstreamTls:
    """The TLS of annotations, written without `proxy-ssl-` and with underscores."""
    written = {f"proxy-ssl-{name.replace('_', '-')}": text for name, text in texts.items()}
    values: dict[str, Any] = {name: _ANNOTATIONS[name].parse(text) for name, text in written.items()}
    lookup = Known()
    if secret is not None:
        values["proxy-ssl-secret"] = "tls"
        lookup = Known(secrets={"tls": secret})
    tls = SPEC.vary(values, lookup, PLAIN).tls
    assert tls is not None
    return tls


def test_the_defaults_are_those_that_are_documented() -> None:
    assert made(server_name="off") == UNVERIFIED
    assert UpstreamTls(False, b"", b"", b"", 1, "", False, ("TLSv1.2", "TLSv1.3"), "") == UNVERIFIED
    assert _ANNOTATIONS["proxy-ssl-verify"].default == "off"
    assert _ANNOTATIONS["proxy-ssl-verify-depth"].default == "1"
    assert _ANNOTATIONS["proxy-ssl-server-name"].default == "off"
    assert _ANNOTATIONS["proxy-ssl-protocols"].default == "TLSv1.2 TLSv1.3"


def test_a_secret_gives_a_certificate_a_ca_or_both() -> None:
    assert made({"tls.crt": _CHAIN, "tls.key": _KEY}) == UpstreamTls(certificate_pem=_CHAIN, key_pem=_KEY)
    assert made({"ca.crt": _CA}, verify="on") == UpstreamTls(verify=True, ca_pem=_CA)
    both = made({"ca.crt": b"# comment\n" + _CA, "tls.crt": _CHAIN, "tls.key": _KEY}, verify="on", verify_depth="3")
    assert both == UpstreamTls(True, _CA, _CHAIN, _KEY, depth=3)


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ({}, "neither a certificate nor a CA"),
        ({"tls.crt": _CHAIN}, "there is no `tls.key`"),
        ({"tls.key": _KEY}, "there is no `tls.crt`"),
        ({"tls.crt": b"nothing", "tls.key": _KEY}, "`tls.crt` has no PEM certificate"),
        ({"tls.crt": _CHAIN, "tls.key": b"nothing"}, "`tls.key` has no PEM private key"),
        ({"tls.crt": _CHAIN, "tls.key": _OTHER.private_key_pem.bytes()}, "does not belong to"),
        ({"ca.crt": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "certificate 1 of `ca.crt`"),
        ({"ca.crt": b""}, "`ca.crt` has no PEM certificate"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_and_never_quoted(secret: dict[str, bytes], why: str) -> None:
    with pytest.raises(Unusable, match=why) as refusal:
        made(secret, verify="on")
    assert refusal.value.annotation == "proxy-ssl-secret"
    assert "BEGIN" not in f"{refusal.value}{refusal.value.hint}"


@pytest.mark.parametrize("secret", [None, {"tls.crt": _CHAIN, "tls.key": _KEY}])
def test_nothing_can_be_verified_without_a_ca(secret: dict[str, bytes] | None) -> None:
    with pytest.raises(Unusable, match="there is no CA") as refusal:
        made(secret, verify="on")
    assert refusal.value.annotation == "proxy-ssl-verify"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("proxy-ssl-verify", "true"),
        ("proxy-ssl-server-name", "yes"),
        ("proxy-ssl-verify-depth", "-1"),
        ("proxy-ssl-verify-depth", "1.5"),
        ("proxy-ssl-name", ""),
        ("proxy-ssl-name", "$host"),
        ("proxy-ssl-name", ".test"),
        ("proxy-ssl-name", "a..test"),
        ("proxy-ssl-name", "a" * 64),
        ("proxy-ssl-name", "a b"),
        ("proxy-ssl-protocols", ""),
        ("proxy-ssl-protocols", "TLSv1 TLSv1.1"),
        ("proxy-ssl-protocols", "TLSv1.4"),
        ("proxy-ssl-ciphers", "NO-SUCH-CIPHER"),
        ("proxy-ssl-secret", " "),
    ],
)
def test_what_is_not_understood_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        _ANNOTATIONS[name].parse(text)


def test_versions_that_are_not_spoken_are_left_out_and_named() -> None:
    tls = made(protocols="TLSv1 TLSv1.1 TLSv1.2")
    assert tls.protocols == ("TLSv1.2",)
    remarks = list(SPEC.remarks({"proxy-ssl-protocols": ("TLSv1", "TLSv1.1", "TLSv1.2")}, site()))
    assert [str(each) for each in remarks] == ["TLSv1, TLSv1.1 is not spoken to endpoints"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, ""),
        ({"upstream-vhost": Template.parse("Vhost.test:8443")}, "vhost.test"),
        ({"upstream-vhost": Template.parse("$host")}, ""),
        ({"upstream-vhost": Template.parse("vhost.test"), "proxy-ssl-name": "own.test"}, "own.test"),
        ({"proxy-ssl-name": "192.0.2.1"}, "192.0.2.1"),
    ],
)
def test_the_name_is_its_own_else_that_of_upstream_vhost(values: dict[str, Any], name: str) -> None:
    tls = SPEC.vary(values, Known(), PLAIN).tls
    assert tls is not None
    assert tls.name == name


def test_plain_http_and_tls_together_are_told() -> None:
    values = {"backend-protocol": "HTTP", "proxy-ssl-verify": True}
    assert [each.annotation for each in SPEC.remarks(values, site())] == ["proxy-ssl-verify"]


def test_a_key_is_in_no_repr_and_every_field_makes_another_identity() -> None:
    tls = made({"ca.crt": _CA, "tls.crt": _CHAIN, "tls.key": _KEY}, verify="on")
    assert "PRIVATE" not in repr(tls)
    others = [
        UNVERIFIED,
        tls,
        UpstreamTls(verify=True),
        UpstreamTls(ca_pem=_CA),
        UpstreamTls(key_pem=_KEY),
        UpstreamTls(depth=2),
        UpstreamTls(name="a"),
        UpstreamTls(sends_sni=True),
        UpstreamTls(protocols=("TLSv1.3",)),
        UpstreamTls(ciphers="a"),
    ]
    assert len({each.key for each in others}) == len(others)
    assert UpstreamTls().key == UNVERIFIED.key
