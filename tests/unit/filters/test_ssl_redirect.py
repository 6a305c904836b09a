"""The redirect to HTTPS: when it is built, where it sends, what passes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from ingressd.errors import Reason
from ingressd.filters.base import Site
from ingressd.filters.registry import ANNOTATIONS, CHAIN
from ingressd.filters.ssl_redirect import SPEC, SslRedirect
from ingressd.filters.values import boolean


@dataclass
class _Request:
    method: str = "GET"
    scheme: str = "http"
    host: str = "shop.test"
    authority: str = "Shop.test:8080"
    target: str = "/cart?id=1"
    path: str = "/cart"


def _location(request: _Request, port: int = 443) -> str:
    reply = SslRedirect(port).on_request(request)
    assert reply is not None
    assert (reply.status, reply.reason) == (308, Reason.REDIRECT)
    ((name, value),) = reply.headers
    assert name == b"Location"
    return value.decode("ascii")


@pytest.mark.parametrize(
    ("request_", "port", "location"),
    [
        (_Request(), 443, "https://shop.test/cart?id=1"),
        (_Request(), 8443, "https://shop.test:8443/cart?id=1"),
        (_Request(target="//evil.test/%2e%2e"), 443, "https://shop.test//evil.test/%2e%2e"),
        (_Request(target="http://shop.test:8080/cart?q"), 443, "https://shop.test/cart?q"),
        (_Request(target="http://shop.test?q"), 443, "https://shop.test/?q"),
        (_Request(host="[::1]", target="/"), 8443, "https://[::1]:8443/"),
        (_Request(method="POST"), 443, "https://shop.test/cart?id=1"),
        (_Request(path="/.well-known/acme-challengex"), 443, "https://shop.test/cart?id=1"),
    ],
)
def test_plain_http_is_sent_to_the_same_target_over_https(request_: _Request, port: int, location: str) -> None:
    assert _location(request_, port) == location


@pytest.mark.parametrize(
    "request_", [_Request(scheme="https"), _Request(path="/.well-known/acme-challenge/token", target="/x")]
)
def test_https_and_acme_challenges_pass(request_: _Request) -> None:
    assert SslRedirect(443).on_request(request_) is None


def test_the_status_is_the_one_that_the_operator_chose() -> None:
    reply = SslRedirect(443, status=301).on_request(_Request())
    assert reply is not None
    assert (reply.status, reply.headers) == (301, ((b"Location", b"https://shop.test/cart?id=1"),))
    assert str(SslRedirect(443, status=301)) == "ssl-redirect: 301 to https, port 443"


def test_a_request_without_host_has_no_place_to_be_sent_to() -> None:
    reply = SslRedirect(443).on_request(_Request(host=""))
    assert reply is not None
    assert (reply.status, reply.reason) == (400, Reason.BAD_REQUEST)


@pytest.mark.parametrize(
    ("values", "tls", "https", "built"),
    [
        ({}, True, True, True),
        ({}, False, True, False),
        ({}, True, False, False),
        ({"ssl-redirect": False}, True, True, False),
        ({"ssl-redirect": True}, False, True, False),
        ({"force-ssl-redirect": True}, False, False, True),
        ({"force-ssl-redirect": True, "ssl-redirect": False}, True, True, True),
        ({"force-ssl-redirect": False}, True, True, True),
    ],
)
def test_it_is_built_where_the_host_has_tls_or_where_it_is_forced(
    values: dict[str, Any], tls: bool, https: bool, built: bool
) -> None:
    site = Site("shop.test", tls, https, 8443)
    assert SPEC.build(values, site) == (SslRedirect(8443) if built else None)


@pytest.mark.parametrize("text", ["yes", "on", "", "tRUE", "2", '"true"'])
def test_a_boolean_that_is_none_says_what_it_must_be(text: str) -> None:
    with pytest.raises(ValueError, match='"true" or "false"'):
        boolean(text)


def test_booleans_are_read_as_ingress_nginx_reads_them() -> None:
    assert all(boolean(text) for text in ("true", "True", "TRUE", "t", "T", "1"))
    assert not any(boolean(text) for text in ("false", "False", "FALSE", "f", "F", "0"))


def test_every_annotation_of_the_chain_is_known_by_its_name() -> None:
    assert set(ANNOTATIONS) == {annotation.name for spec in CHAIN for annotation in spec.annotations}
    assert all(annotation.summary for annotation in ANNOTATIONS.values())


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/cart/", "https://shop.test/cart"),
        ("/cart", "https://shop.test/cart"),
        ("/cart//", "https://shop.test/cart/"),
        ("/", "https://shop.test/"),
        ("/cart?next=/", "https://shop.test/cart?next=/"),
        ("/cart/?x", "https://shop.test/cart/?x"),
    ],
)
def test_what_was_written_for_ingress_nginx_loses_one_slash_at_the_end_of_a_path(target: str, location: str) -> None:
    site = Site("shop.test", tls=True, https=True, https_redirect_port=443, nginx=True)
    stripping = SPEC.build({}, site)
    assert isinstance(stripping, SslRedirect)
    reply = stripping.on_request(_Request(target=target))
    assert reply is not None
    assert reply.headers == ((b"Location", location.encode()),)


@pytest.mark.parametrize(
    ("values", "nginx", "strips"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"preserve-trailing-slash": True}, True, False),
        ({"preserve-trailing-slash": False}, True, True),
        ({"preserve-trailing-slash": False}, False, False),
    ],
)
def test_the_slash_stays_where_that_is_asked_for_and_in_what_was_written_for_us(
    values: dict[str, Any], nginx: bool, strips: bool
) -> None:
    site = Site("shop.test", tls=True, https=True, https_redirect_port=443, nginx=nginx)
    assert SPEC.build(values, site) == SslRedirect(443, strips)


def test_a_filter_travels_to_a_worker_and_says_what_it_does() -> None:
    assert pickle.loads(pickle.dumps(SslRedirect(8443))) == SslRedirect(8443)
    assert str(SslRedirect(8443)) == "ssl-redirect: 308 to https, port 8443"
