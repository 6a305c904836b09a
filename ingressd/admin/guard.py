"""What keeps the admin port read-only, and away from strangers and other people's web pages: a middleware, a signal.

In: a request. Out: 401 without the token, 403 for a foreign Host (DNS rebinding), 405 for a writing method, JSON
errors, strict headers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from ingressd.admin.token import Token

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

READING_METHODS = ("GET", "HEAD")
OPEN_PAGES = frozenset({"/healthz", "/readyz"})
"""For probes, which have no token; they tell whether the proxy serves, and nothing else."""
WRONG_TOKEN_LOG_S = 60.0
"""Wrong tokens are told in the log at most so often: a flood of them must not become a flood of lines."""

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_is_ours = re.compile(rf"{_LABEL}|(?:{_LABEL}\.)+localhost").fullmatch
_NAME = 253
"""Characters of a DNS name."""
_log = logging.getLogger(__name__)


def is_local_host(host: str) -> bool:
    """Whether a Host field names this machine rather than a domain that someone else's DNS could point here.

    IP literals, `localhost` and what ends in it, and names of a single label (compose services, machine names):
    no outsider can register those, so a page of theirs can never have such an origin.
    """
    name = host.strip().lower()
    if name.startswith("["):
        name, bracket, port = name[1:].partition("]")
        if not bracket or (port and not re.fullmatch(r":[0-9]{1,5}", port)):
            return False
    elif name.count(":") == 1:
        name, _, port = name.partition(":")
        if not re.fullmatch(r"[0-9]{1,5}", port):
            return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        name = name.removesuffix(".")
        return len(name) <= _NAME and _is_ours(name) is not None
    return True


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON error: {"error": message}."""
    return web.json_response({"error": message}, status=status, headers=headers)


class Guard:
    """Refuses what a reader has no business with; turns every failure into JSON."""

    def __init__(self, token: Callable[[], Token | None]) -> None:
        """`token` gives what is demanded at the moment; None: nothing."""
        self._token = token
        self._told_at = float("-inf")

    @web.middleware
    async def middleware(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """See the class."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return error(404, "no such page: GET / lists them")
        except web.HTTPException as problem:
            return error(problem.status, problem.reason)
        except ConnectionError:
            raise  # the client has left in the middle of its answer
        except Exception:
            _log.exception("the admin API failed on %s", request.path)
            return error(500, "internal error: the program log says more")

    def _refused(self, request: web.Request) -> web.Response | None:
        token = self._token()
        if token is None:
            host = request.headers.get("Host")
            # The host of an absolute target goes before that of the field (RFC 9112 section 3.2.2): both must be ours.
            if host is not None and not (is_local_host(host) and is_local_host(request.host)):
                words = "use localhost, an IP address or a name without dots; with a token, any name will do"
                return error(403, f"this Host is not served here: {words}")
        elif request.path not in OPEN_PAGES:
            # Any Host will do: a page of somebody else's that was led here by its DNS does not have the token.
            given = request.headers.getall("Authorization", [])
            if not token.opens(given):
                return self._unauthorized(request, given)
        if request.method not in READING_METHODS:
            return error(405, "the admin API only reads: use GET", {"Allow": ", ".join(READING_METHODS)})
        return None

    def _unauthorized(self, request: web.Request, given: list[str]) -> web.Response:
        challenge = 'Bearer realm="ingressd"'
        if given:
            challenge += ', error="invalid_token"'
            now = asyncio.get_running_loop().time()
            if now - self._told_at >= WRONG_TOKEN_LOG_S:
                self._told_at = now
                _log.warning("the admin port refused a wrong token from %s", request.remote)
        return error(401, "send the admin token: Authorization: Bearer TOKEN", {"WWW-Authenticate": challenge})


async def strip_and_protect(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers, and take away the one that names our software's versions."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.popall("Server", None)
