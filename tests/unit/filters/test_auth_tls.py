"""auth-tls-*: what is understood, and what is said to whom. Handshakes are in tests/wire/test_filter_client_auth.py."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import trustme

from ingressd.filters.auth_tls import FIELDS, SPEC, AuthTls, client_auth
from ingressd.filters.base import Unusable
from ingressd.filters.ssl_redirect import SslRedirect
from ingressd.http.client_certificate import NOT_ASKED, ClientTls
from ingressd.table.client_trust import ClientTrust
from tests.support.asked import Asked, asked
from tests.unit.filters.lookup import Known, site

_ANNOTATIONS = {each.name: each for each in SPEC.annotations}
_CA = trustme.CA().cert_pem.bytes()
_TRUST = ClientTrust(_CA)
_KNOWN = Known(secrets={"ca": {"ca.crt": _CA}})


def request(tls: ClientTls | None, url: str = "https://a.test/") -> Asked:
    """One on a connection with this TLS."""
    return asked(url, headers={"X-Kept": "1"}, tls=tls)


def read(**texts: str) -> AuthTls | None:
    """What annotations ask for, written without `auth-tls-` and with underscores."""
    written = {f"auth-tls-{name.replace('_', '-')}": text for name, text in texts.items()}
    values: dict[str, Any] = {name: _ANNOTATIONS[name].parse(text) for name, text in written.items()}
    return client_auth(values, _KNOWN)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert read(secret="ca") == AuthTls(_TRUST, _TRUST.key)
    assert (_TRUST.depth, _ANNOTATIONS["auth-tls-verify-depth"].default) == (1, "1")
    assert _ANNOTATIONS["auth-tls-verify-client"].default == "on"
    assert _ANNOTATIONS["auth-tls-pass-certificate-to-upstream"].default == "false"
    assert read() is None


@pytest.mark.parametrize(("verify", "required"), [("on", True), ("optional", False), ("optional_no_ca", False)])
def test_a_certificate_must_or_may_be_shown(verify: str, required: bool) -> None:
    made = read(secret="ca", verify_client=verify)
    assert made is not None
    assert made.required is required


def test_off_asks_nobody_whatever_the_secret_is() -> None:
    assert read(secret="missing", verify_client="off") is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("secret", ""),
        ("verify-client", "yes"),
        ("verify-client", "ON"),
        ("verify-depth", "-1"),
        ("pass-certificate-to-upstream", "on"),
        ("match-cn", "alice"),
        ("match-cn", "CN="),
        ("match-cn", "CN=("),
        ("error-page", "/page"),
        ("error-page", "ftp://a.test/"),
        ("error-page", "https://a.test/ b"),
        ("error-page", "https://a.test/$nothing"),
    ],
)
def test_what_is_not_understood_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        _ANNOTATIONS[f"auth-tls-{name}"].parse(text)


@pytest.mark.parametrize("texts", [{"verify_client": "on"}, {"verify_client": "optional"}, {"match_cn": "CN=a"}])
def test_without_authorities_nothing_is_asked_for_and_that_is_no_way_in(texts: dict[str, str]) -> None:
    with pytest.raises(Unusable, match="nobody is asked for a certificate without auth-tls-secret"):
        read(**texts)


def test_trusts_differ_by_all_that_a_handshake_goes_by() -> None:
    trusts = (_TRUST, ClientTrust(_CA, b"crl"), ClientTrust(_CA, depth=2), ClientTrust(b"", _CA))
    assert len({each.key for each in trusts}) == 4
    assert ClientTrust(_CA).key == _TRUST.key


def test_the_filter_goes_through_a_pickle() -> None:
    made = read(secret="ca", match_cn="CN=a.*", error_page="https://a.test/$request_uri")
    assert pickle.loads(pickle.dumps(made)) == made


def test_optional_no_ca_is_told_to_be_optional() -> None:
    values = {"auth-tls-secret": "ca", "auth-tls-verify-client": "optional_no_ca"}
    assert [each.annotation for each in SPEC.remarks(values, site())] == ["auth-tls-verify-client"]
    assert not list(SPEC.remarks({"auth-tls-secret": "ca"}, site()))


@pytest.mark.parametrize("tls", [NOT_ASKED, ClientTls("of another one")])
def test_a_connection_for_somebody_else_is_sent_away_and_closed(tls: ClientTls) -> None:
    reply = AuthTls(_TRUST, _TRUST.key, required=False).on_request(request(tls))
    assert reply is not None
    assert (reply.status, reply.reason, reply.close) == (421, "misdirected", True)


@pytest.mark.parametrize("required", [True, False])
def test_a_certificate_that_does_not_count_is_none_even_where_none_is_needed(required: bool) -> None:
    tls = ClientTls(_TRUST.key, problem="certificate chain too long")
    reply = AuthTls(_TRUST, _TRUST.key, required=required).on_request(request(tls))
    assert reply is not None
    assert (reply.status, reply.detail) == (400, "The SSL certificate error: certificate chain too long")


def test_what_clients_say_of_certificates_is_taken_out() -> None:
    asking = request(ClientTls(_TRUST.key))
    for name in FIELDS:
        asking.set_header(name, "forged")
    assert AuthTls(_TRUST, _TRUST.key, required=False).on_request(asking) is None
    assert {name: value for name, value in asking.sent.items() if name in FIELDS} == {"ssl-client-verify": "NONE"}
    assert asking.sent["x-kept"] == "1"


@pytest.mark.parametrize(
    ("redirect", "url", "status"),
    [
        (None, "http://a.test/", 403),
        (None, "https://a.test/", 403),
        (SslRedirect(443), "http://a.test/", 308),
        (SslRedirect(443), "https://a.test/", 403),
        (SslRedirect(443), "http://a.test/.well-known/acme-challenge/x", 403),
    ],
)
def test_without_tls_there_is_no_way_in(redirect: SslRedirect | None, url: str, status: int) -> None:
    reply = AuthTls(_TRUST, _TRUST.key, required=False, redirect=redirect).on_request(request(None, url))
    assert reply is not None
    assert reply.status == status
