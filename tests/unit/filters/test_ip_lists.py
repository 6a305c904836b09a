"""IP lists: which wins, who is refused, and how."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from ingressd.errors import Reason
from ingressd.filters.address_ranges import AddressRanges
from ingressd.filters.base import Site
from ingressd.filters.ip_lists import SPEC, IpLists, lists_of
from tests.support.asked import asked

SITE = Site("a.test", False, False, 443)


def _lists(**values: str) -> IpLists | None:
    return lists_of({name.replace("_", "-"): AddressRanges.parse(text) for name, text in values.items()})


@pytest.mark.parametrize(
    ("values", "client", "passes"),
    [
        ({"allowlist_source_range": "192.0.2.0/24"}, "192.0.2.7", True),
        ({"allowlist_source_range": "192.0.2.0/24"}, "192.0.3.7", False),
        ({"whitelist_source_range": "192.0.2.0/24"}, "192.0.3.7", False),
        ({"whitelist_source_range": "192.0.3.0/24", "allowlist_source_range": "192.0.2.0/24"}, "192.0.2.7", True),
        ({"whitelist_source_range": "192.0.3.0/24", "allowlist_source_range": "192.0.2.0/24"}, "192.0.3.7", False),
        ({"denylist_source_range": "192.0.2.7"}, "192.0.2.7", False),
        ({"denylist_source_range": "192.0.2.7"}, "192.0.2.8", True),
        ({"denylist_source_range": "192.0.2.7", "allowlist_source_range": "192.0.2.0/24"}, "192.0.2.7", False),
        ({"denylist_source_range": "192.0.2.7", "allowlist_source_range": "192.0.2.0/24"}, "192.0.2.8", True),
        ({"allowlist_source_range": "192.0.2.0/24"}, "::ffff:192.0.2.7", True),
        ({"allowlist_source_range": "2001:db8::/32"}, "2001:db8::7", True),
        ({"allowlist_source_range": "0.0.0.0/0"}, "unknown", False),
        ({"denylist_source_range": "192.0.2.7"}, "unknown", False),
    ],
)
def test_denied_goes_before_allowed_and_who_is_neither_is_refused(
    values: dict[str, str], client: str, *, passes: bool
) -> None:
    lists = _lists(**values)
    assert lists is not None
    reply = lists.on_request(asked(client=client))
    assert (reply is None) is passes
    if reply is not None:
        assert (reply.status, reply.reason) == (403, Reason.DENIED_IP)


def test_without_a_list_nothing_is_built_and_everybody_may_ask() -> None:
    assert SPEC.build({}, SITE) is None
    assert [annotation.default for annotation in SPEC.annotations] == ["everybody", "everybody", "nobody"]
    assert all(annotation.guard for annotation in SPEC.annotations)


def test_beside_others_it_is_no_filter_of_its_own() -> None:
    values: dict[str, Any] = {"allowlist-source-range": AddressRanges.parse("10.0.0.0/8")}
    assert SPEC.build({**values, "satisfy": "all"}, SITE) == SPEC.build(values, SITE) is not None
    assert SPEC.build({**values, "satisfy": "any"}, SITE) is None


def test_it_travels_and_says_what_it_does() -> None:
    lists = _lists(denylist_source_range="10.0.0.1", allowlist_source_range="10.0.0.0/8,192.0.2.0/24")
    assert str(lists) == "ip-lists: deny 1, allow 2"
    assert pickle.loads(pickle.dumps(lists)) == lists
