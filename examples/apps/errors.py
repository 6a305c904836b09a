"""The error pages: answers with the status that the proxy names in X-Code, and a page for it.

python -m examples.apps.errors --name error-pages --port 8000
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from .serving import main


def make_app(name: str) -> web.Application:
    """An app that apologises for others."""

    async def page(request: web.Request) -> web.Response:
        code = request.headers.get("X-Code", "404")
        known = code.isascii() and code.isdigit() and int(code) in {*HTTPStatus}
        status = HTTPStatus(int(code)) if known else HTTPStatus.NOT_FOUND
        original = request.headers.get("X-Original-URI", "/")
        text = f"{name} apologises: {status.value} {status.phrase} for {original}\n"
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    return app


if __name__ == "__main__":
    main(make_app, "error-pages")
