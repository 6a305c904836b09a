"""What a connection does with its bytes, and what it needs from whoever accepted it."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from ingressd.http.forwarded import ForwardedBlock
from ingressd.listener.overload import Overload

if TYPE_CHECKING:
    from ingressd.listener.http1 import Http1Connection


class State(Enum):
    """What the connection does with the next bytes."""

    HEAD = auto()
    """They belong to the head of the next request."""
    EXCHANGE = auto()
    """They belong to the body of the request in progress, or wait for its end."""
    DISCARD = auto()
    """The answer went out before the body was read: the rest of the body is thrown away, up to a bound."""
    TUNNEL = auto()
    """They are passed on raw."""
    LINGER = auto()
    """The last answer is on its way; what the client still sends is thrown away, so that no reset overtakes it."""


class Listener(Protocol):
    """What a connection needs from whoever accepted it."""

    scheme: str
    """`http` or `https`."""
    overload: Overload
    """Whether a request may be served at all."""

    def forwarded_block(self, client_address: str, local_port: int) -> ForwardedBlock:
        """The X-Forwarded-* fields of this connection."""

    def opened(self, connection: Http1Connection) -> None:
        """A connection begins."""

    def closed(self, connection: Http1Connection) -> None:
        """A connection is gone."""
