"""satisfy: whether everybody must pass all guards of a route (IP lists, authentication), or one of them is enough.

In: the guards that the other annotations ask for. Out: for `any`, one filter of all of them; for `all` they are filters
by themselves. As in nginx, the first guard that lets somebody in ends it, and so does one that cannot say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site, Verdict
from ingressd.filters.basic_auth import users_of
from ingressd.filters.external_auth import ExternalAuth, asked_of
from ingressd.filters.guard import ANY, Guard
from ingressd.filters.ip_lists import lists_of
from ingressd.filters.jwt import tokens_of
from ingressd.filters.values import choice

_REFUSALS = frozenset({Reason.DENIED_IP, Reason.AUTH_FAILED})
"""What another guard can make good; others than these are failures, and end it."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Two guards or more, in the order of the chain."""

    guards: tuple[Guard, ...]
    asks: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"any of ({'; '.join(map(str, self.guards))})"

    def on_request(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """The refusal of the guards, when none of them lets somebody in."""
        for guard in self.guards:
            guard.cleanse(request)
        refusal: LocalReply | None = None
        for number, guard in enumerate(self.guards):
            verdict = guard.check(request)
            if isinstance(verdict, Awaitable):
                return self._go_on(request, number, verdict, refusal)
            if _settles(guard, verdict):
                return verdict
            refusal = _graver(refusal, verdict)
        return refusal

    def on_response(self, request: Request, response: Response) -> None:
        """What guards have to add."""
        for guard in self.guards:
            if isinstance(guard, ExternalAuth):
                guard.on_response(request, response)

    async def _go_on(
        self, request: Request, number: int, pending: Awaitable[Verdict], refusal: LocalReply | None
    ) -> Verdict:
        """From the guard at `number` on, which has to be waited for."""
        verdict: Verdict | Awaitable[Verdict] = pending
        while True:
            guard = self.guards[number]
            answer = await verdict if isinstance(verdict, Awaitable) else verdict
            if _settles(guard, answer):
                return answer
            refusal = _graver(refusal, answer)
            number += 1
            if number == len(self.guards):
                return refusal
            verdict = self.guards[number].check(request)


def _settles(guard: Guard, verdict: Verdict) -> bool:
    return guard.grants if verdict is None else verdict.reason not in _REFUSALS


def _graver(refusal: LocalReply | None, verdict: Verdict) -> LocalReply | None:
    """Credentials can be shown, an address cannot be changed: 401 says more than 403, as in nginx."""
    if verdict is None or (refusal is not None and refusal.status != 403):
        return refusal
    return verdict


class _Spec(FilterSpec):
    name = "satisfy"
    annotations = (
        Annotation(
            "satisfy",
            choice("all", ANY),
            "`any`: one of IP lists and authentications is enough; `all`: each of them must be passed",
            "all",
            guard=True,
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        if values.get("satisfy") != ANY:
            return None
        asked_for = (
            lists_of(values),
            users_of(values, site),
            asked_of(values, site),
            tokens_of(values, site),
        )
        guards: tuple[Any, ...] = tuple(guard for guard in asked_for if guard is not None)
        if len(guards) < 2:
            return guards[0] if guards else None
        return AnyOf(guards)


SPEC = _Spec()
