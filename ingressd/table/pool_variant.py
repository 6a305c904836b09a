"""PoolVariant: how an Ingress wants the endpoints of a Service reached, where the Service says something else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolVariant:
    """Part of a pool's name: Ingresses that want the same share a pool."""

    scheduler: str = ""
    """Empty = the Service's own."""
    tls: bool | None = None
    """None = as appProtocol says."""

    @property
    def suffix(self) -> str:
        """What the pool's id ends with; empty when nothing differs."""
        words = (self.scheduler, {None: "", True: "https", False: "http"}[self.tls])
        return "".join(f"~{word}" for word in words if word)


PLAIN = PoolVariant()
