"""satisfy: which guards stand side by side, and which of their refusals is the answer."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Request, Verdict
from ingressd.filters.basic_auth import BasicAuth
from ingressd.filters.ip_lists import IpLists
from ingressd.filters.registry import ANNOTATIONS, CHAIN
from ingressd.filters.satisfy import SPEC, AnyOf
from tests.support.asked import asked
from tests.unit.filters.lookup import site

ALL = {
    "allowlist-source-range": "10.0.0.0/8",
    "auth-type": "basic",
    "auth-secret": "s",
    "auth-url": "https://auth.test/",
    "jwt-secret": "s",
}
SITE = site(secrets={"s": {"auth": b"joe:{PLAIN}x", "secret": b"x" * 32}})


def _values(**annotations: str) -> dict[str, Any]:
    of = annotations.pop("of", " ".join(ALL)).split()
    names = {**{name: text for name, text in ALL.items() if name in of}, **annotations}
    return {name: ANNOTATIONS[name].parse(text) for name, text in names.items()}


@dataclass(frozen=True)
class _Says:
    """A guard that says the same to everybody, at once or later."""

    verdict: Verdict
    grants: bool = True
    later: bool = False

    def cleanse(self, request: Request) -> None:
        request.remove_header("x-of-a-guard")

    def check(self, request: Request) -> Verdict | Awaitable[Verdict]:
        return self._wait() if self.later else self.verdict

    async def _wait(self) -> Verdict:
        return self.verdict


IP = LocalReply(403, Reason.DENIED_IP)
AUTH = LocalReply(401, Reason.AUTH_FAILED)
FORBIDDEN = LocalReply(403, Reason.AUTH_FAILED)
BROKEN = LocalReply(500, Reason.AUTH_UNAVAILABLE)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("verdicts", "answer"),
    [
        ([None, AUTH], None),
        ([IP, None], None),
        ([IP, AUTH, None], None),
        ([IP, AUTH], AUTH),
        ([AUTH, FORBIDDEN], AUTH),
        ([IP, FORBIDDEN], FORBIDDEN),
        ([IP, BROKEN, None], BROKEN),
        ([IP, AUTH, BROKEN], BROKEN),
    ],
)
async def test_one_guard_is_enough_and_401_says_more_than_403(
    verdicts: list[Verdict], answer: Verdict, *, later: bool
) -> None:
    guards = AnyOf(tuple(_Says(verdict, later=later and bool(number)) for number, verdict in enumerate(verdicts)))
    request = asked(headers={"X-Of-A-Guard": "x"})
    verdict = guards.on_request(request)
    assert (await verdict if isinstance(verdict, Awaitable) else verdict) is answer
    assert "x-of-a-guard" not in request.sent


async def test_not_to_be_denied_is_no_reason_to_be_let_in() -> None:
    guards = AnyOf((_Says(None, grants=False), _Says(AUTH, later=True)))
    verdict = guards.on_request(asked())
    assert isinstance(verdict, Awaitable)
    assert await verdict is AUTH
    assert AnyOf((_Says(None, grants=False), _Says(None))).on_request(asked()) is None


def test_any_makes_one_filter_of_all_guards_in_the_order_of_the_chain() -> None:
    made = SPEC.build(_values(satisfy="any"), SITE)
    assert isinstance(made, AnyOf)
    assert [type(guard).__name__ for guard in made.guards] == ["IpLists", "BasicAuth", "ExternalAuth", "Jwt"]
    assert str(made) == (
        "any of (ip-lists: allow 1; basic-auth: 1 user; external-auth: GET https://auth.test; jwt: keys of a Secret)"
    )
    names = {"ip-lists", "basic-auth", "external-auth", "jwt"}
    others = [spec for spec in CHAIN if spec.name in names]
    assert [spec.build(_values(satisfy="any"), SITE) for spec in others] == [None] * 4
    assert all(spec.build(_values(satisfy="all"), SITE) for spec in others)


@pytest.mark.parametrize(
    ("of", "kind"), [("allowlist-source-range", IpLists), ("auth-type auth-secret", BasicAuth), ("", type(None))]
)
def test_one_guard_stays_what_it_is(of: str, kind: type) -> None:
    assert isinstance(SPEC.build(_values(of=of, satisfy="any"), SITE), kind)


def test_all_is_the_default_and_what_is_neither_closes_the_route() -> None:
    (annotation,) = SPEC.annotations
    assert (annotation.default, annotation.guard) == ("all", True)
    assert SPEC.build(_values(satisfy="all"), SITE) is SPEC.build(_values(), SITE) is None
    with pytest.raises(ValueError, match=r"^one of all, any$"):
        annotation.parse("some")
