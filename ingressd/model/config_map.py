"""ConfigMap (v1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingressd.model.metadata import Metadata
from ingressd.model.shape import Mistake, Shape


class ConfigMap(Shape):
    """v1 ConfigMap."""

    api_version: str
    kind: str
    metadata: Metadata
    data: Mapping[str, str] = {}
    binary_data: Any = None
    immutable: Any = None

    def mistakes(self) -> Iterator[Mistake]:
        """Rules of ValidateConfigMap."""
        yield from self.metadata.mistakes()
