"""TlsHosts: what hosts want of a connection beside their certificate, by the name in its ClientHello.

In: snapshots. Out: whose certificates a client is asked for; where a connection goes as it is. A name stands for the
host that would serve requests for it, as in routing/table.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingressd.routing.paths import wildcard_of
from ingressd.table.client_trust import ClientTrust
from ingressd.table.route import ANY_HOST, Route, VirtualHost
from ingressd.table.snapshot import Delta, Snapshot
from ingressd.table.stream import StreamListener


class TlsHosts:
    """Costs nothing as long as no host wants anything."""

    def __init__(self) -> None:
        self._hosts: Mapping[str, VirtualHost] = {}
        self._special: set[str] = set()
        """Those of them that want something."""
        self._default: ClientTrust | None = None
        """Of the route that takes what no host takes."""

    def follow(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Go by this one; `delta` None means that everything may have changed."""
        if delta is None:
            self._special.clear()
        changed: Mapping[str, VirtualHost | None] = snapshot.hosts if delta is None else delta.hosts
        for name, host in changed.items():
            if host is not None and (host.client_trust is not None or host.passthrough is not None):
                self._special.add(name)
            else:
                self._special.discard(name)
        self._hosts = snapshot.hosts
        self._default = _trust_of(snapshot.default)

    def trust(self, server_name: str) -> ClientTrust | None:
        """Whose certificates a client that names this host is asked for."""
        if not self._special and self._default is None:
            return None
        host = self._host(server_name)
        if host is None:
            return self._default
        return host.client_trust or (self._default if host.name == ANY_HOST else None)

    def passthrough(self, server_name: str) -> StreamListener | None:
        """Where such a connection goes as it is; None = its TLS ends here."""
        if not self._special or not server_name:
            return None
        host = self._host(server_name)
        return None if host is None else host.passthrough

    def _host(self, server_name: str) -> VirtualHost | None:
        hosts = self._hosts
        return hosts.get(server_name) or hosts.get(wildcard_of(server_name)) or hosts.get(ANY_HOST)


def _trust_of(route: Route | None) -> ClientTrust | None:
    if route is None or not route.filters:
        return None
    from ingressd.filters.auth_tls import trust_of  # with it comes what reads certificates: most workers need none

    return trust_of(route)
