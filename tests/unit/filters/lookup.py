"""A Lookup that knows what a test tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingressd.filters.base import Site, Unusable


@dataclass
class Known:
    """Secrets and ConfigMaps by name; Services as `NAMESPACE/NAME`."""

    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    services: tuple[str, ...] = ()

    def secret(self, name: str, annotation: str) -> Mapping[str, bytes]:
        if name not in self.secrets:
            raise Unusable(annotation, f"there is no Secret {name}")
        return self.secrets[name]

    def config_map(self, name: str, annotation: str) -> Mapping[str, str]:
        if name not in self.config_maps:
            raise Unusable(annotation, f"there is no ConfigMap {name}")
        return self.config_maps[name]

    def pool(self, service: str, port: str, annotation: str) -> str:
        namespace = ""
        if "." in service:  # its name in DNS
            service, namespace, *rest = service.split(".")
            if rest not in (["svc"], ["svc", "cluster", "local"]):
                raise Unusable(annotation, "this is the name of no Service")
        if f"{namespace}/{service}" not in self.services:
            raise Unusable(annotation, f"there is no Service {namespace}/{service}")
        return f"{namespace}/{service}:{port}"

    def default_pool(self, annotation: str) -> str:
        return ""


def site(host: str = "a.test", **known: object) -> Site:
    """Where filters work, with what is known there."""
    return Site(host, False, False, 443, namespace="default", lookup=Known(**known))  # type: ignore[arg-type]
