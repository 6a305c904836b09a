"""Scenario: what a proxy under test is told to serve, in words that every proxy's configuration can say.

In: a number of hosts and paths, and which features are on. Out: sites, and requests that reach them. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

DOMAIN = "bench.test"
APP_HOST = f"app.{DOMAIN}"
"""Its requests go to the WebSocket echo."""
EDITED_HOST = f"edited.{DOMAIN}"
"""The one host that an edit changes: it has one path, which names the edition."""

Annotations = tuple[tuple[str, str], ...]
"""Names, without prefix, and values."""

CHAIN: Annotations = (
    ("rewrite-target", "/$1"),
    ("enable-cors", "true"),
    ("limit-rps", "1000000"),
    ("whitelist-source-range", "127.0.0.0/8"),
    ("response-headers-set", "X-One: 1; X-Two: 2"),
    ("request-headers-set", "X-Three: 3"),
)
"""Filters that a route may well have, none of which stops a request."""

_SHUFFLE_SEED = 7
"""Hosts are asked in an order that no cache line can guess, and that is the same in each run."""


class Pool(Enum):
    """The two upstreams."""

    WEB = "web"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Site:
    """One host with its paths, each a prefix by path element as an Ingress means it."""

    host: str
    paths: tuple[str, ...]
    pool: Pool = Pool.WEB
    annotations: Annotations = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is to be served. Keep-alive to the upstream, forwarded fields and metrics are always on."""

    hosts: int = 10
    paths: int = 2
    """Of each host: `/`, `/p1`, `/p2` ..."""
    tls: bool = False
    """HTTPS beside HTTP."""
    access_log: bool = False
    """One JSON line a request, into a file."""
    workers: int = 1
    file_per_host: bool = False
    """As many files as hosts, for the proxies that can read them so; else as few as may be."""
    edition: int = 0
    """Which edit of the configuration this is."""
    annotations: Annotations = ()
    """Of the numbered hosts. Only ingressd reads them."""
    stream: bool = False
    """A port beside, whose TCP connections are passed on to the web upstream as they are."""
    services: int = 0
    """So many Services beside, each with an endpoint, that no host names. Only ingressd knows such a thing."""

    def sites(self) -> Iterator[Site]:
        """All hosts, the edited one last."""
        paths = ("/", *(f"/p{number}" for number in range(1, self.paths)))
        for number in range(self.hosts):
            yield Site(host_name(number), paths, annotations=self.annotations)
        yield Site(APP_HOST, ("/",), Pool.APP)
        yield self.edited_site()

    def edited_site(self) -> Site:
        """The site that the next edition changes."""
        return Site(EDITED_HOST, (edition_path(self.edition),))

    def edited(self, edition: int) -> Scenario:
        """The same scenario, one edit later."""
        return replace(self, edition=edition)

    def last_url(self) -> tuple[str, str]:
        """Host and path of the last route: when it is served, all are."""
        return host_name(self.hosts - 1), "/x" if self.paths == 1 else f"/p{self.paths - 1}/x"

    def requests(self) -> list[tuple[str, str]]:
        """(host, path) of one request to each route of the numbered hosts, shuffled."""
        paths = ["/x", *(f"/p{number}/x" for number in range(1, self.paths))]
        pairs = [(host_name(number), path) for number in range(self.hosts) for path in paths]
        random.Random(_SHUFFLE_SEED).shuffle(pairs)
        return pairs

    @property
    def label(self) -> str:
        """For the report: `10 hosts x 2 paths, TLS, access log`."""
        words = [f"{self.hosts:,} host{'s' * (self.hosts > 1)} x {self.paths:,} paths"]
        words += ["TLS"] * self.tls + ["access log"] * self.access_log
        words += [f"{len(self.annotations)} annotations"] * bool(self.annotations)
        words += ["TCP"] * self.stream + [f"{self.services:,} Services beside"] * bool(self.services)
        words += [f"{self.workers} workers"] * (self.workers > 1) + ["a file a host"] * self.file_per_host
        return ", ".join(words)


def host_name(number: int) -> str:
    """The host with that number."""
    return f"h{number}.{DOMAIN}"


def edition_path(edition: int) -> str:
    """The only path of the edited host in that edition."""
    return f"/edition-{edition}"
