"""The echo app: answers every request with JSON that shows what arrived, with the status of `?status=` if there is one.

python -m examples.apps.echo --name shop --port 8000
"""

from __future__ import annotations

import json

from aiohttp import web

from .serving import main


def make_app(name: str) -> web.Application:
    """An app that calls itself `name`. Its `instance` is the address that answered: one for each copy of the app."""

    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        address = request.transport.get_extra_info("sockname") if request.transport else ("", 0)
        wanted = request.query.get("status", "")
        status = int(wanted) if wanted.isascii() and wanted.isdigit() and 200 <= int(wanted[:4]) <= 599 else 200
        answer = {
            "app": name,
            "instance": f"{address[0]}:{address[1]}",
            "scheme": request.scheme,
            "method": request.method,
            "path": request.raw_path,
            "headers": dict(request.headers),
            "body_bytes": len(body),
        }
        return web.json_response(answer, status=status, dumps=lambda value: json.dumps(value, indent=2) + "\n")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", echo)
    return app


if __name__ == "__main__":
    main(make_app, "echo")
