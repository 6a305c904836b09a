"""backend-protocol: what is understood, what it makes of a pool, and where requests without TLS go."""

from __future__ import annotations

import pytest

from ingressd.filters.backend_protocol import SPEC, ClientsProtocol
from ingressd.filters.base import Unusable
from ingressd.table.pool_variant import AUTO, HTTP, HTTPS, PLAIN, PoolVariant
from tests.support.asked import asked
from tests.support.edge import route
from tests.unit.filters.lookup import Known, site

_parse = SPEC.annotations[0].parse


@pytest.mark.parametrize(
    ("text", "protocol"), [("HTTP", HTTP), ("HTTPS", HTTPS), ("https", HTTPS), ("Auto_Http", AUTO), (" HTTPS ", HTTPS)]
)
def test_a_protocol_is_understood_in_upper_and_lower_case(text: str, protocol: str) -> None:
    assert SPEC.vary({"backend-protocol": _parse(text)}, Known(), PLAIN) == PoolVariant(protocol=protocol)


@pytest.mark.parametrize("text", ["", "HTTP2", "TLS", "HTTP,HTTPS", "1"])
def test_what_is_no_protocol_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one of HTTP, HTTPS, AUTO_HTTP"):
        _parse(text)


@pytest.mark.parametrize("text", ["GRPC", "grpcs", "FCGI"])
def test_a_protocol_that_http_1_1_cannot_stand_in_for_says_why_and_what_instead(text: str) -> None:
    with pytest.raises(Unusable, match=f"{text.upper()} is not supported yet, because") as refusal:
        SPEC.vary({"backend-protocol": _parse(text)}, Known(), PLAIN)
    assert refusal.value.hint.startswith("instead ")


def test_without_it_the_service_decides() -> None:
    assert SPEC.vary({}, Known(), PLAIN) is PLAIN
    assert SPEC.build({}, site()) is None
    assert [PoolVariant().speaks_tls(by_service) for by_service in (False, True)] == [False, True]


def test_only_the_clients_protocol_needs_a_filter() -> None:
    built = {word: SPEC.build({"backend-protocol": word}, site()) for word in ("HTTP", "HTTPS", "AUTO_HTTP")}
    assert built == {"HTTP": None, "HTTPS": None, "AUTO_HTTP": ClientsProtocol()}


@pytest.mark.parametrize(("scheme", "pool"), [("http", "default/app:80~auto~plain"), ("https", None)])
def test_a_request_without_tls_goes_to_the_twin(scheme: str, pool: str | None) -> None:
    request = asked(f"{scheme}://a.test/", route=route(pool="default/app:80~auto"))
    ClientsProtocol().on_request(request)
    assert (request.edits and request.edits.pool) == pool


@pytest.mark.parametrize("variant", [PoolVariant(protocol=AUTO), PoolVariant("ewma", AUTO)])
def test_a_twin_differs_in_speaking_no_tls_and_has_none_itself(variant: PoolVariant) -> None:
    twin = variant.twin
    assert twin is not None
    assert twin.suffix == f"{variant.suffix}~plain"
    assert variant.speaks_tls(False)
    assert not twin.speaks_tls(True)
    assert twin.twin is None
    assert PoolVariant(protocol=HTTPS).twin is None
