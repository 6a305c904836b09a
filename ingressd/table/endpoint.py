"""Endpoint: one address that answers for a Service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port. `source` says where it was found: `slices`, `dns`, `static`, or a plug-in's name."""

    address: str
    """IPv4 or IPv6 without brackets."""
    port: int
    weight: int = 1
    zone: str = ""
    terminating: bool = False
    healthy: bool = True
    """What its health check says; True when there is none."""
    source: str = "slices"

    @property
    def key(self) -> str:
        """`10.0.0.1:80` or `[::1]:80`: what state that survives a reload is keyed by."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
