"""The gatekeeper: says who somebody is, as oauth2-proxy does for auth-url, and lets anybody in who gives a name.

python -m examples.apps.gatekeeper --name gatekeeper --port 8000
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from .serving import main

COOKIE = "_oauth2_proxy"
USER = "X-Auth-Request-User"

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{name}</title>
<h1>Who are you?</h1>
<form action="/oauth2/callback">
<input name="user"> <input type="hidden" name="rd" value="{back}"> <button>Sign in</button>
</form>
"""


async def _auth(request: web.Request) -> web.Response:
    """What auth-url asks: 202 and a name, or 401."""
    user = request.cookies.get(COOKIE, "")
    if not user:
        return web.Response(status=401, text="sign in first\n")
    return web.Response(status=202, headers={USER: user})


async def _callback(request: web.Request) -> web.Response:
    """Where the form leads: a cookie, and back to where the visitor wanted to go."""
    user = request.query.get("user", "")
    if not user.isalnum():
        raise web.HTTPBadRequest(text="a name has letters and digits\n")
    response = web.Response(status=302, headers={"Location": _on_this_host(request.query.get("rd", "/"))})
    response.set_cookie(COOKIE, user, httponly=True)
    return response


def _on_this_host(url: str) -> str:
    """The path of `url`: an open redirect would help whoever imitates this page."""
    parts = urlsplit(url)
    path = "/" + parts.path.lstrip("/\\")
    return f"{path}?{parts.query}" if parts.query else path


def make_app(name: str) -> web.Application:
    """`/oauth2/auth` is asked by the proxy, `/oauth2/start` and `/oauth2/callback` are for people."""

    async def start(request: web.Request) -> web.Response:
        back = _on_this_host(request.query.get("rd", "/")).replace("&", "&amp;").replace('"', "&quot;")
        return web.Response(text=PAGE.format(name=name, back=back), content_type="text/html")

    app = web.Application()
    app.router.add_get("/oauth2/auth", _auth)
    app.router.add_get("/oauth2/start", start)
    app.router.add_get("/oauth2/callback", _callback)
    return app


if __name__ == "__main__":
    main(make_app, "gatekeeper")
