"""The cast: which app plays which Service of the stories, and how many copies of it there are.

docker-compose.yml has one service of the same name for each, found by DNS; a test compares the two. On one machine
`python -m examples.apps` starts them and writes the EndpointSlices that tell the proxy where they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import echo, errors, gatekeeper, live
from .serving import MakeApp

PARTNER_NAME = "partner.internal"
"""Where the ExternalName Service of the story `external-name` points: a name outside of the manifests."""

PARTNER_PORT = 19100
"""An ExternalName has no port of its own, so the partner listens on the very port of its Service everywhere."""


@dataclass(frozen=True)
class Part:
    """One Service and the app behind it."""

    service: str
    make_app: MakeApp
    copies: int = 1
    tls: bool = False
    """It speaks HTTPS."""


CAST = (
    Part("shop", echo.make_app),
    Part("blog", echo.make_app),
    Part("menu", echo.make_app),
    Part("orders", echo.make_app),
    Part("bank", echo.make_app),
    Part("welcome", echo.make_app),
    Part("fleet", echo.make_app, copies=3),
    Part("dice", echo.make_app, copies=3),
    Part("sticky", echo.make_app, copies=3),
    Part("live", live.make_app),
    Part("app", echo.make_app),
    Part("stable", echo.make_app),
    Part("beta", echo.make_app),
    Part("nodes", echo.make_app, copies=3),
    Part("vault", echo.make_app, tls=True),
    Part("gatekeeper", gatekeeper.make_app),
    Part("error-pages", errors.make_app),
    Part("parts", echo.make_app),
    Part("gate", echo.make_app, copies=3),
    Part("front", echo.make_app, copies=3),
    Part("peers", echo.make_app, copies=3),
)

TRY = (
    "curl -H 'Host: shop.localhost' http://127.0.0.1:8080/cart",
    "curl --cacert certs/ca.crt --resolve shop.localhost:8443:127.0.0.1 https://shop.localhost:8443/cart",
    "curl -H 'Host: cats.blog.localhost' http://127.0.0.1:8080/",
    "curl -H 'Host: cafe.localhost' http://127.0.0.1:8080/orders/7",
    "curl -i -H 'Host: bank.localhost' http://127.0.0.1:8080/accounts",
    "curl -H 'Host: nowhere.localhost' http://127.0.0.1:8080/",
    "curl -H 'Host: partner.localhost' http://127.0.0.1:8080/",
    "curl -s -H 'Host: fleet.localhost' 'http://127.0.0.1:8080/[1-3]' | grep instance",
    "curl -N -H 'Host: live.localhost' 'http://127.0.0.1:8080/events?count=3'",
    "curl -s -H 'Host: webshop.localhost' -H 'X-Canary: always' http://127.0.0.1:8080/",
    "curl -s http://127.0.0.1:30080/",
    "ingressd services --live http://127.0.0.1:9080",
)
"""What `ingressd demo` proposes to type; each is in the README of its story."""
