"""mirror-target and its kin: send a copy of requests somewhere else, and forget the answers.

The copy goes its own way beside the request: it holds nobody up, and nobody learns what becomes of it. A target that
is slow loses copies, never the requests themselves.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import ClientError, ClientTimeout

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Services, Site
from ingressd.filters.destination import Destination, Place
from ingressd.filters.fault_injection import percent
from ingressd.filters.values import choice
from ingressd.filters.variables import Template
from ingressd.http.field_rules import HOP_BY_HOP

COPIES = 256
"""Under way in one worker; what would be more is not sent."""
BODY_BYTES = 256 * 1024
"""Of one body that its copy has not sent yet; a copy that falls behind further is given up."""
TIMEOUT_S = 30.0
_UNDER_WAY = "mirror"
_OWN = frozenset({*(name.decode() for name in HOP_BY_HOP), "content-length", "host"})


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where copies go, and which part of the requests is copied."""

    asks: ClassVar[bool] = True

    target: Destination
    host: Template | None
    """None = that of the target."""
    body: bool
    percent: float

    def __str__(self) -> str:
        return f"mirror: {self.percent:g} % to {self.target.text}"

    def on_request(self, request: Request) -> None:
        """See RequestFilter."""
        if random.random() * 100 >= self.percent:
            return
        services = request.services
        under_way = services.memory.setdefault(_UNDER_WAY, set())
        if len(under_way) >= COPIES:
            services.count("mirror_dropped")
            return
        place = self.target.place(request)
        if place is None:
            services.count("mirror_failed")
            return
        headers = [(name, value) for name, value in request.forwarded_lines() if name.lower() not in _OWN]
        headers.append(("Host", place.host if self.host is None else self.host.render(request)))
        body = None
        if self.body and request.has_body:
            body = _Body()
            request.tap(body.receive)
            request.at_end(body.close)
        copy = _Copy(request.method, place, headers, body)
        task = services.spawn(copy.send(services))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


class _Body:
    """What of a body is on its way from the client to the copy."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._news = asyncio.Event()
        self._complete = False
        self._ended = False

    def receive(self, data: bytes, complete: bool) -> None:
        """More of it came."""
        self._held_bytes += len(data)
        if data and self._held_bytes <= BODY_BYTES:
            self._pieces.append(data)
        self._complete = self._complete or complete
        self._news.set()

    def close(self) -> None:
        """Nothing comes any more."""
        self._ended = True
        self._news.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, as it comes. Raises ClientError when the copy cannot be whole."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._held_bytes > BODY_BYTES or (self._ended and not self._complete):
                raise ClientError("the body is not whole")
            pieces, self._pieces = self._pieces, []
            self._held_bytes = 0
            for piece in pieces:
                yield piece
            if self._complete and not self._pieces:
                return


@dataclass(frozen=True, slots=True)
class _Copy:
    """One copy."""

    method: str
    place: Place
    headers: list[tuple[str, str]]
    body: _Body | None

    async def send(self, services: Services) -> None:
        try:
            async with services.session.request(
                self.method,
                self.place.url,
                headers=self.headers,
                data=None if self.body is None else self.body.pieces(),
                allow_redirects=False,
                server_hostname=self.place.server_name,
                timeout=ClientTimeout(total=TIMEOUT_S),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as response:
                await response.release()
        except (ClientError, OSError, TimeoutError, ValueError):
            services.count("mirror_failed")
        else:
            services.count("mirror_sent")


class _Spec(FilterSpec):
    name = "mirror"
    annotations = (
        Annotation(
            "mirror-target",
            Destination.parse,
            "the URL that copies go to; nginx's variables are allowed, in the host only `$host`",
            note="The name of a Service in the manifests, NAME.NAMESPACE.svc, leads to its endpoints."
            " A certificate must be valid.",
        ),
        Annotation("mirror-request-body", choice("on", "off"), "with the body of the request", "on"),
        Annotation("mirror-host", Template.parse, "the Host of copies", "that of mirror-target"),
        Annotation("mirror-percent", percent, "how many of the requests", "100", native=True),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        target: Destination | None = values.get("mirror-target")
        if target is None:
            return None
        return Mirror(
            target.at(site, "mirror-target"),
            values.get("mirror-host"),
            values.get("mirror-request-body", "on") == "on",
            values.get("mirror-percent", 100.0),
        )


SPEC = _Spec()
