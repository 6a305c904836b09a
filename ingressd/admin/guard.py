"""What keeps the admin port read-only and away from other people's web pages: one middleware, one signal.

In: a request. Out: 403 for a foreign Host (DNS rebinding), 405 for a writing method, JSON errors, strict headers.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

READING_METHODS = ("GET", "HEAD")

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
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
        return bool(_LABEL.fullmatch(name)) or (name.endswith(".localhost") and name.isascii())
    return True


def error(status: int, message: str, **headers: str) -> web.Response:
    """A JSON error: {"error": message}."""
    return web.json_response({"error": message}, status=status, headers=headers)


@web.middleware
async def guard(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Refuse what a reader has no business with; turn every failure into JSON."""
    host = request.headers.get("Host")
    if host is not None and not is_local_host(host):
        return error(403, "this Host is not served here: use localhost, an IP address or a name without dots")
    if request.method not in READING_METHODS:
        return error(405, "the admin API only reads: use GET", Allow=", ".join(READING_METHODS))
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return error(404, "no such page: GET / lists them")
    except web.HTTPException as problem:
        return error(problem.status, problem.reason)
    except Exception:
        _log.exception("the admin API failed on %s", request.path)
        return error(500, "internal error: the program log says more")


async def strip_and_protect(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers, and take away the one that names our software's versions."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.popall("Server", None)
