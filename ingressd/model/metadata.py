"""metadata of every object (ObjectMeta of apimachinery)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingressd.model import names
from ingressd.model.shape import Loc, Mistake, Shape, invalid, required

ANNOTATIONS_BYTES = 256 * 1024
"""apimachinery's TotalAnnotationSizeLimitB."""


class Metadata(Shape):
    """Who an object is."""

    name: str = ""
    namespace: str | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    creation_timestamp: str | None = None
    generate_name: Any = None
    self_link: Any = None
    uid: Any = None
    resource_version: Any = None
    generation: Any = None
    deletion_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    owner_references: Any = None
    finalizers: Any = None
    managed_fields: Any = None
    cluster_name: Any = None

    def mistakes(self, *, service: bool = False) -> Iterator[Mistake]:
        """Rules that hold for every kind; a `service`'s name begins with a letter."""
        if not self.name:
            yield required(("metadata", "name"))
        elif rule := (names.service_name if service else names.subdomain)(self.name):
            yield invalid(("metadata", "name"), self.name, rule)
        if self.namespace and (rule := names.label(self.namespace)):
            yield invalid(("metadata", "namespace"), self.namespace, rule)
        for key in self.annotations:
            if rule := names.annotation_key(key):
                loc: Loc = ("metadata", "annotations", key)
                yield invalid(loc, key, rule)
        if sum(len(key) + len(value) for key, value in self.annotations.items()) > ANNOTATIONS_BYTES:
            yield invalid(("metadata", "annotations"), "annotations", "at most 256 KiB together")
