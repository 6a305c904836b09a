"""AuthRequest: the request by which a service is asked whether somebody may pass, as ingress-nginx sends it.

In: a request of a client. Out: what the service says of it, or why it cannot be asked. The body stays here. Redirects
are not followed, and no connection waits for a service that is silent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import ClientConnectionError, ClientError, ClientTimeout

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Request
from ingressd.filters.destination import Destination, Place
from ingressd.filters.variables import Template, request_uri
from ingressd.observe.sparing import Sparing

CONNECT_S = 5.0
"""proxy_connect_timeout of ingress-nginx."""
ANSWER_S = 60.0
"""proxy_read_timeout of ingress-nginx."""
BODY_BYTES = 64 * 1024
"""Of an answer's body, which means nothing: more of it, and its connection is closed, not used again."""
TRIES = 2
"""Endpoints of a Service that are asked, when connecting fails."""
GUARDED = "X-Ingressd-Auth-Request"
"""Says that a request is one of these: a service that is guarded by itself would be asked without end."""

_NOT_SENT = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "transfer-encoding",
        "upgrade",
        # The answer is about the client, not about a document: 304 and 206 would be no verdict.
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
    }
)
_CLAIMED = ("x-forwarded-", "x-original-", "x-auth-request-", "ssl-client-")
"""What a client says of itself with such names is dropped with every request."""
_OWN_FIELDS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""aiohttp would add them."""

_log = Sparing(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said."""

    status: int
    challenges: tuple[str, ...]
    """Its WWW-Authenticate fields."""
    headers: tuple[tuple[str, str], ...]
    """Those that are wanted of it."""
    cookies: tuple[str, ...]
    """Its Set-Cookie fields."""


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """Whom to ask, and how."""

    destination: Destination
    method: str = "GET"
    wanted: tuple[str, ...] = ()
    """Fields of the answer that are for the endpoint, in lower case."""
    set_headers: tuple[tuple[str, Template], ...] = ()
    redirect: Template | None = None
    """X-Auth-Request-Redirect; None = the target as the client sent it."""

    async def answer(self, request: Request) -> Answer:
        """Ask. Raises LocalReply (500) when there is no answer."""
        headers = self._headers(request)
        problem: Exception | None = None
        for _ in range(TRIES if self.destination.pool else 1):
            place = self.destination.place(request)
            if place is None:
                raise self._unavailable("its Service has no endpoint that is ready")
            try:
                return await self._asked(request, place, headers)
            except ClientConnectionError as failure:
                problem = failure
            except (TimeoutError, ClientError, OSError, ValueError) as failure:
                problem = failure
                break
        raise self._unavailable(f"{type(problem).__name__}: {problem}")

    async def _asked(self, request: Request, place: Place, headers: list[tuple[str, str]]) -> Answer:
        async with request.services.session.request(
            self.method,
            place.url,
            headers=[("Host", place.host), *headers],
            skip_auto_headers=_OWN_FIELDS,
            allow_redirects=False,
            timeout=ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
            server_hostname=place.server_name,
        ) as response:
            fields: dict[str, list[str]] = {}
            for name, value in response.raw_headers:
                fields.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
            left = BODY_BYTES
            while left > 0 and (piece := await response.content.readany()):
                left -= len(piece)
            return Answer(
                response.status,
                tuple(fields.get("www-authenticate", ())),
                tuple((name, ", ".join(fields[name])) for name in self.wanted if name in fields),
                tuple(fields.get("set-cookie", ())),
            )

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        """All but Host."""
        target = request_uri(request)
        own = {
            "x-original-url": f"{request.scheme}://{request.authority}{target}",
            "x-original-uri": target,
            "x-original-method": request.method,
            "x-real-ip": request.client_address,
            "x-request-id": request.request_id,
            "x-auth-request-redirect": target if self.redirect is None else self.redirect.render(request),
            "x-sent-from": "nginx-ingress-controller",
            GUARDED.lower(): "1",
        }
        own.update((name, template.render(request)) for name, template in self.set_headers)
        lines = [
            (name, value)
            for name, value in request.forwarded_lines()
            if (lower := name.lower()) not in _NOT_SENT and lower not in own
        ]
        present = {name.lower() for name, _ in lines} | own.keys()
        lines += self._taken_out(request, present)
        lines += own.items()
        return [(name, _as_aiohttp_sends_it(value)) for name, value in lines]

    def _taken_out(self, request: Request, present: Iterable[str]) -> list[tuple[str, str]]:
        """Fields of the client that its endpoint does not get, and by which a service knows who it is."""
        names = dict.fromkeys(("authorization", *self.wanted))
        return [
            (name, value)
            for name in names
            if name not in present
            and name not in _NOT_SENT
            and not name.startswith(_CLAIMED)
            and (value := request.header(name)) is not None
        ]

    def _unavailable(self, why: str) -> LocalReply:
        _log.warning("the authentication service %s cannot be asked: %s", self.destination, why)
        return LocalReply(500, Reason.AUTH_UNAVAILABLE, "the authentication service cannot be asked")


def _as_aiohttp_sends_it(value: str) -> str:
    """The text whose UTF-8 is the bytes that came; what they say in no UTF-8 is sent as the same characters."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
