"""sessionAffinity: ClientIP. A client stays with the endpoint it had, until it has been away for the Service's timeout.

Where a client goes at first is a hash of its address and the endpoints' (rendezvous hashing): every worker finds the
same one without asking another, also after an endpoint has left. What a worker remembers is only needed when endpoints
are added (docs/decisions/0014).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from math import log
from typing import Generic

from ingressd.balancing.base import Request, T
from ingressd.balancing.hashing import digest, mixed

CLIENTS = 10_000
"""Remembered by one pool in one worker, about 2 MiB. The one that was away longest is forgotten first."""


class ClientAffinity(Generic[T]):
    """Keeps each client with its target. It is a Scheduler of its own: no other one has a say."""

    __slots__ = ("_bound", "_clients", "_targets", "_timeout_s")

    def __init__(self, timeout_s: float, bound: int = CLIENTS) -> None:
        self._timeout_s = timeout_s
        self._bound = bound
        self._clients: OrderedDict[str, tuple[T, float]] = OrderedDict()
        """Address -> the target, and until when; the one that was here last is the last one."""
        self._targets: dict[T, tuple[int, int]] = {}
        """Target -> its digest and weight."""

    def __len__(self) -> int:
        return len(self._clients)

    def update(self, targets: Mapping[T, int]) -> None:
        """Clients of targets that stay keep them."""
        before = self._targets
        self._targets = {target: (digest(target.key), weight) for target, weight in targets.items() if weight > 0}
        if not before.keys() <= self._targets.keys():
            kept = ((client, known) for client, known in self._clients.items() if known[0] in self._targets)
            self._clients = OrderedDict(kept)

    def pick(self, tried: Collection[T], request: Request) -> T | None:
        """The client's own target; another one, which is not remembered, while its own does not answer."""
        client = request.client_address
        known = self._clients.get(client)
        if known is not None and request.began < known[1]:
            target = known[0]
        else:
            first = self._first(client, ())
            if first is None:
                return None
            target = first
        self._clients[client] = (target, request.began + self._timeout_s)
        self._clients.move_to_end(client)
        if len(self._clients) > self._bound:
            self._clients.popitem(last=False)
        return self._first(client, tried) if target in tried else target

    def _first(self, client: str, tried: Collection[T]) -> T | None:
        """Whom the hash prefers: each target in proportion to its weight, and nobody moves but the clients of one that
        leaves."""
        number = digest(client)
        best, found = -float("inf"), None
        for target, (own, weight) in self._targets.items():
            if target not in tried:
                # Exponentially distributed with the rate `weight`: the least of several is theirs by weight.
                score = log(((mixed(number, own) >> 11) + 0.5) / (1 << 53)) / weight
                if score > best:
                    best, found = score, target
        return found
