"""PoolVariant: how an Ingress wants the endpoints of a Service reached, where the Service says something else."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ingressd.table.upstream_tls import UpstreamTls

HTTP = "http"
HTTPS = "https"
AUTO = "auto"
"""The client's scheme: such a pool speaks TLS, and its twin does not."""
TWIN = "~plain"
"""What the id of a twin ends with, behind that of the pool it belongs to."""


@dataclass(frozen=True, slots=True)
class PoolVariant:
    """Part of a pool's name: Ingresses that want the same share a pool."""

    scheduler: str = ""
    """Empty = the Service's own."""
    protocol: str = ""
    """HTTP, HTTPS or AUTO; empty = as appProtocol says."""
    tls: UpstreamTls | None = None
    """How TLS is spoken, where it is; None = without verification."""
    plain: bool = False
    """It is the twin of one with AUTO."""

    @property
    def suffix(self) -> str:
        """What the pool's id ends with; empty when nothing differs."""
        words = (self.scheduler, self.protocol, "" if self.tls is None else self.tls.key)
        return "".join(f"~{word}" for word in words if word) + (TWIN if self.plain else "")

    @property
    def twin(self) -> PoolVariant | None:
        """Takes the requests that come without TLS; None = all go the same way."""
        return replace(self, plain=True) if self.protocol == AUTO and not self.plain else None

    def speaks_tls(self, by_service: bool) -> bool:
        """Whether it does, at a Service whose appProtocol says `by_service`."""
        return not self.plain and (self.protocol in (HTTPS, AUTO) or (by_service and not self.protocol))


PLAIN = PoolVariant()
