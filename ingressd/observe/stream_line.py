"""The line of one TCP connection, or flow of datagrams, to a Service: JSON, or ingress-nginx's format for streams.

In: a StreamEntry. Out: a line with its end, in ASCII. Nothing in it was chosen by a client.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
from typing import Protocol

from ingressd.errors import Reason
from ingressd.table.stream import StreamListener

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_OK = 200
_STATUS: dict[str, int] = {Reason.OVERLOAD: 503, Reason.NO_ENDPOINTS: 502}
_FAILED = {Reason.CONNECT_REFUSED, Reason.CONNECT_TIMEOUT, Reason.CONNECT_FAILED, Reason.INTERNAL}
_BAD_GATEWAY = 502


class StreamEntry(Protocol):
    """A connection or a flow that has ended."""

    listener: StreamListener
    started_at: float
    """Epoch seconds."""
    duration_s: float
    client_address: str
    client_port: int
    reason: str
    """errors.Reason of what ended it early; empty = the peers did."""
    attempts: int
    upstream_address: str
    """Of the last attempt; empty when there was none."""

    @property
    def bytes_in(self) -> int:
        """From the client."""

    @property
    def bytes_out(self) -> int:
        """To the client."""


def json_line(entry: StreamEntry) -> str:
    """One object; `kind` tells it from the line of a request."""
    at, listener = entry.started_at, entry.listener
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return (
        f'{{"time":"{clock}.{int(at % 1 * 1000):03d}Z","kind":"stream","protocol":{quote(listener.protocol)},'
        f'"client":{quote(entry.client_address)},"client_port":{entry.client_port},'
        f'"listener":{quote(listener.place)},"role":{quote(listener.role)},'
        f'"namespace":{quote(listener.namespace)},"service":{quote(listener.service)},'
        f'"port":{quote(listener.service_port)},"reason":{quote(entry.reason)},'
        f'"bytes_in":{entry.bytes_in},"bytes_out":{entry.bytes_out},"duration_ms":{entry.duration_s * 1000:.3f},'
        f'"upstream":{quote(entry.upstream_address)},"attempts":{entry.attempts}}}\n'
    )


def nginx_line(entry: StreamEntry) -> str:
    """ingress-nginx's default log-format-stream, then the Service's port and the endpoint."""
    at, listener = time.localtime(entry.started_at + entry.duration_s), entry.listener
    clock = f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year:04}:{time.strftime('%H:%M:%S %z', at)}"
    return (
        f"[{entry.client_address}] [{clock}] {listener.protocol} {_status(entry.reason)}"
        f" {entry.bytes_out} {entry.bytes_in} {entry.duration_s:.3f}"
        f" [{listener.namespace}-{listener.service}-{listener.service_port}] {entry.upstream_address or '-'}\n"
    )


def _status(reason: str) -> int:
    """nginx's words for how a stream ended."""
    return _BAD_GATEWAY if reason in _FAILED else _STATUS.get(reason, _OK)


STREAM_FORMATS: dict[str, Callable[[StreamEntry], str]] = {"json": json_line, "nginx": nginx_line}
