"""The admin application: the endpoints and their shapes.

In: a View. Out: an aiohttp application that answers GET and HEAD. It never knows where the answers come from.
"""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from ingressd import __version__
from ingressd.admin.guard import Guard, error, strip_and_protect
from ingressd.admin.long_answers import LongAnswers
from ingressd.admin.token import Token
from ingressd.admin.view import Json, View

JSON_TYPE = "application/json; charset=utf-8"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

PAGES: tuple[tuple[str, str], ...] = (
    ("/healthz", "200 while the process lives"),
    ("/readyz", "200 while every worker serves"),
    ("/metrics", "Prometheus text over all workers"),
    ("/api/v1/status", "generation, workers, listeners"),
    ("/api/v1/faults", "mistakes in the configuration, with file and line"),
    ("/api/v1/routes", "the table in the order of precedence"),
    ("/api/v1/services", "Services: ports, endpoints, their state and counters"),
    ("/api/v1/certificates", "certificates: names and expiry"),
    ("/api/v1/reloads", "the last applied edits"),
    ("/api/v1/explain?url=http://localhost/&method=GET", "which route takes a request, and why"),
)


def make_app(view: View, token: Callable[[], Token | None] = lambda: None) -> web.Application:
    """The application for one View; `token` gives what must be sent to read it, at the moment."""
    app = web.Application(middlewares=[Guard(token).middleware])
    app.on_response_prepare.append(strip_and_protect)
    long = LongAnswers()
    pages = _Pages(view, long)
    app.router.add_get("/", pages.index)
    app.router.add_get("/healthz", pages.healthz)
    app.router.add_get("/readyz", pages.readyz)
    app.router.add_get("/metrics", pages.metrics)
    app.router.add_get("/api/v1/explain", pages.explain)
    app.router.add_get("/api/v1/status", pages.status)
    app.router.add_get("/api/v1/services", pages.services)
    lists: dict[str, Callable[[], Sequence[Json]]] = {
        "faults": view.faults,
        "routes": view.routes,
        "certificates": view.certificates,
        "reloads": view.reloads,
    }
    for name, read in lists.items():
        app.router.add_get(f"/api/v1/{name}", _list_page(read, long))
    return app


def _list_page(
    read: Callable[[], Sequence[Json]], long: LongAnswers
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def make() -> bytes:
        return await asyncio.to_thread(_as_json, read())

    async def page(request: web.Request) -> web.StreamResponse:
        return await long.send(request, make, JSON_TYPE)

    return page


def _as_json(content: Sequence[Json]) -> bytes:
    return json.dumps(content).encode()


class _Pages:
    """The pages that are more than a list."""

    def __init__(self, view: View, long: LongAnswers) -> None:
        self._view = view
        self._long = long

    async def healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"{self._view.condition()}\n", status=200 if self._view.ready() else 503)

    async def status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._view.status())

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        return await self._long.send(request, self._view.metrics, METRICS_TYPE)

    async def services(self, request: web.Request) -> web.StreamResponse:
        async def make() -> bytes:
            return await asyncio.to_thread(_as_json, await self._view.services())

        return await self._long.send(request, make, JSON_TYPE)

    async def explain(self, request: web.Request) -> web.Response:
        url = request.query.get("url")
        if not url:
            return error(400, "say which URL: /api/v1/explain?url=http://shop.localhost/cart")
        headers: list[tuple[str, str]] = []
        for field in request.query.getall("header", []):
            name, colon, value = field.partition(":")
            if not colon or not name.strip():
                return error(400, "a header is written as header=Name:value")
            headers.append((name.strip(), value.strip()))
        try:
            return web.json_response(self._view.explain(url, request.query.get("method", "GET"), headers))
        except ValueError as problem:
            return error(400, str(problem))

    async def index(self, _request: web.Request) -> web.Response:
        rows = "\n".join(
            f'<li><a href="{html.escape(path)}"><code>{html.escape(path.partition("?")[0])}</code></a> '
            f"{html.escape(what)}</li>"
            for path, what in PAGES
        )
        page = (
            "<!doctype html>\n"
            '<html lang="en"><head><meta charset="utf-8"><title>ingressd</title>'
            "<style>body{font:16px/1.6 system-ui,sans-serif;margin:2rem auto;max-width:44rem;padding:0 1rem}</style>"
            f"</head><body>\n<h1>ingressd {html.escape(__version__)}</h1>\n"
            f"<p>{html.escape(self._view.condition())}</p>\n<ul>\n{rows}\n</ul>\n</body></html>\n"
        )
        return web.Response(text=page, content_type="text/html")
