"""upstream-hash-by: the key of a request, and the endpoint or the subset that it has."""

from __future__ import annotations

from typing import Any

import pytest

from ingressd.filters.base import Site
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.rendezvous import best, several
from ingressd.filters.upstream_hash import SPEC, UpstreamHash
from tests.support.asked import asked
from tests.unit.filters.endpoints import Place, places

SITE = Site("a.test", tls=False, https=False, https_redirect_port=443)


def values(**annotations: str) -> dict[str, Any]:
    names = {key.replace("_", "-"): value for key, value in annotations.items()}
    return {name: ANNOTATIONS[name].parse(text) for name, text in names.items()}


def built(**annotations: str) -> UpstreamHash:
    made = SPEC.build(values(**annotations), SITE)
    assert isinstance(made, UpstreamHash)
    return made


def chosen(made: UpstreamHash, url: str, *tried: Place, endpoints: int = 10) -> Place | None:
    request = asked(url)
    made.on_request(request)
    affinity = request.preferred
    return None if affinity is None else affinity.choose(places(endpoints), tried)


def test_the_key_is_the_value_of_the_variables() -> None:
    made = built(upstream_hash_by="$host$request_uri")
    found = best("a.test/x?y", places(10))
    assert chosen(made, "http://a.test/x?y") == found
    assert found is not None
    assert chosen(made, "http://a.test/x?y", found) == best("a.test/x?y", places(10), (found,))
    assert chosen(made, "http://a.test/x?y", *places(10)) is None


def test_without_a_value_the_scheduler_picks() -> None:
    assert chosen(built(upstream_hash_by="$arg_user"), "http://a.test/") is None


def test_a_subset_has_three_endpoints_unless_it_is_said() -> None:
    for size, more in ((3, {}), (2, {"upstream_hash_by_subset_size": "2"})):
        made = built(upstream_hash_by="$uri", upstream_hash_by_subset="true", **more)
        subset = several("/x", places(10), size)
        assert {chosen(made, "http://a.test/x") for _ in range(200)} == set(subset)
        assert chosen(made, "http://a.test/x", *subset[1:]) == subset[0]
        beyond = chosen(made, "http://a.test/x", *subset)
        assert beyond is not None
        assert beyond not in subset
    assert built(upstream_hash_by="$uri", upstream_hash_by_subset_size="2").subset == 0


def test_it_gives_way_to_sessions_and_to_the_address_of_a_service() -> None:
    for other in ({"affinity": "cookie"}, {"service_upstream": "true"}):
        assert SPEC.build(values(upstream_hash_by="$uri", **other), SITE) is None
    assert SPEC.build(values(upstream_hash_by_subset="true"), SITE) is None


@pytest.mark.parametrize("text", ["", "  ", "$nothing", "$1"])
def test_a_value_without_a_meaning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a text with variables"):
        ANNOTATIONS["upstream-hash-by"].parse(text)


def test_what_it_says_of_itself() -> None:
    assert str(built(upstream_hash_by="$uri")) == "endpoint by $uri"
    assert str(built(upstream_hash_by="$uri", upstream_hash_by_subset="1")) == "endpoint by $uri, one of 3"
