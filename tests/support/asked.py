"""A request that nobody sent, as filters see it: for tests of one filter by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ingressd.filters.base import Services
from ingressd.http.authority import canonical_host
from ingressd.http.client_certificate import ClientTls
from ingressd.http.edited_lines import EditedLines
from ingressd.http.fields import FieldBlock
from ingressd.http.target import canonicalise, split_absolute
from ingressd.proxy.request_view import RequestView
from ingressd.table.route import Route


class Asked(RequestView):
    """See RequestView."""

    __slots__ = ("_port", "_services", "_tls")

    def __init__(self, port: int, services: Services | None, tls: ClientTls | None) -> None:
        self._port = port
        self._tls = tls
        self._services = services

    @property
    def client_tls(self) -> ClientTls | None:
        return self._tls

    @property
    def server_port(self) -> int:
        return self._port

    @property
    def services(self) -> Services:
        assert self._services is not None, "the test gave no services"
        return self._services

    def upstream_fields(self) -> EditedLines:
        assert self.fields is not None
        return EditedLines([*self.fields.kept, f"X-Request-ID: {self.request_id}\r\n".encode()])

    @property
    def sent(self) -> dict[str, str]:
        """What the endpoint would get: fields by lower-case name."""
        return {name.lower(): value for name, value in self.forwarded_lines()}


def asked(
    url: str = "http://a.test/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    client: str = "192.0.2.7",
    route: Route | None = None,
    services: Services | None = None,
    port: int = 80,
    tls: ClientTls | None = None,
) -> Asked:
    """The request for `url`, from `client`."""
    request = Asked(port, services, tls)
    request.scheme, request.authority, request.target = split_absolute(url)
    request.method = method
    request.version = "HTTP/1.1"
    request.host = canonical_host(request.authority.encode())
    request.path, _ = canonicalise(request.target)
    request.client_address, request.client_port = client, 40000
    request.request_id = "0123456789abcdef0123456789abcdef"
    request.began = time.monotonic()
    lines = [f"{name}: {value}".encode("latin-1") for name, value in (headers or {}).items()]
    request.fields = FieldBlock(lines, 1).fields
    request.route = route
    request.edits = None
    return request
