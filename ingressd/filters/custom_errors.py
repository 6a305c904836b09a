"""default-backend, custom-http-errors: another Service answers in place of an error, or where no endpoint is.

In: a response, or an answer that the proxy makes itself. Out: a Detour to the error backend, which is told what
happened in X- fields. Whatever it answers goes to the client, its status included; there is no second detour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Detour, Filter, FilterSpec, Request, Response, Site
from ingressd.filters.values import boolean, items
from ingressd.filters.variables import request_uri

FIRST, LAST = 300, 599
"""Of the statuses that nginx's error_page takes."""
_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class CustomErrors:
    """Sends clients to `pool` in place of answers with these statuses."""

    pool: str
    """Empty = our own answer."""
    statuses: frozenset[int] = frozenset()
    without_endpoints: bool = False
    """Also when there is no endpoint, whatever `statuses` says."""
    intercept: bool = True
    """Also answers of endpoints."""

    def __str__(self) -> str:
        where = self.pool or "our own answer"
        words = [str(status) for status in sorted(self.statuses)] + ["no endpoints"] * self.without_endpoints
        return f"{', '.join(words)}: {where}"

    def on_response(self, request: Request, response: Response) -> LocalReply | Detour | None:
        """A Detour where the response is one of those that are replaced."""
        if response.reason == Reason.NO_ENDPOINTS and self.without_endpoints:
            # As ingress-nginx has it: the request itself goes there, an error only its name.
            return self._detour(request, _UNAVAILABLE, request_uri(request))
        if response.status not in self.statuses or not (response.reason or self.intercept):
            return None
        if self.pool:
            return self._detour(request, response.status, "/")
        if response.reason:
            return None
        return LocalReply(response.status, Reason.CUSTOM_ERROR)

    def _detour(self, request: Request, status: int, target: str) -> Detour:
        route = request.route
        assert route is not None
        headers = (
            ("X-Code", str(status)),
            ("X-Format", request.header("accept") or ""),
            ("X-Original-URI", request_uri(request)),
            ("X-Namespace", route.namespace),
            ("X-Ingress-Name", route.ingress),
            ("X-Service-Name", route.service),
            ("X-Service-Port", route.port),
            ("X-Request-ID", request.request_id),
        )
        return Detour(self.pool, target, headers)


def _statuses(text: str) -> frozenset[int]:
    parts = items(text)
    if not parts or not all(
        part.isascii() and part.isdigit() and len(part) == len(str(FIRST)) and FIRST <= int(part) <= LAST
        for part in parts
    ):
        raise ValueError(f'statuses from {FIRST} to {LAST}, as in "404,503"')
    return frozenset(int(part) for part in parts)


def _service(text: str) -> str:
    name = text.strip()
    if not name or "/" in name:
        raise ValueError('the name of a Service in the namespace of the Ingress, as in "error-pages"')
    return name


class _Spec(FilterSpec):
    name = "custom-errors"
    annotations = (
        Annotation(
            "default-backend",
            _service,
            "the Service that answers when there is no endpoint, and in place of custom-http-errors; its first port",
            "--default-backend",
            note="it is sent GET or HEAD without a body, whatever the method of the request was",
        ),
        Annotation(
            "custom-http-errors",
            _statuses,
            "statuses whose answers come from the default backend, with the fields X-Code, X-Format, X-Original-URI,"
            " X-Namespace, X-Ingress-Name, X-Service-Name, X-Service-Port and X-Request-ID in the request for it",
            note="without any default backend the answer is our own page for the status",
        ),
        Annotation(
            "disable-proxy-intercept-errors",
            boolean,
            "leave the answers of endpoints as they are: custom-http-errors is for answers of the proxy only",
            "false",
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        service = values.get("default-backend", "")
        statuses = values.get("custom-http-errors", frozenset())
        lookup = site.lookup
        if lookup is None or not (service or statuses):
            return None
        pool = lookup.pool(service, "", "default-backend") if service else lookup.default_pool("custom-http-errors")
        return CustomErrors(
            pool,
            statuses,
            without_endpoints=bool(service),
            intercept=not values.get("disable-proxy-intercept-errors", False),
        )


SPEC = _Spec()
