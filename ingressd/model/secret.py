"""Secret (v1). Its values never appear in a message."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from ingressd.model.metadata import Metadata
from ingressd.model.shape import Mistake, Shape, required

TLS_TYPE = "kubernetes.io/tls"
TLS_KEYS = ("tls.crt", "tls.key")
SIZE_BYTES = 1024 * 1024


class Secret(Shape):
    """v1 Secret. `stringData` is plain text and wins over `data`, which is base64."""

    api_version: str
    kind: str
    metadata: Metadata
    type: str = "Opaque"
    data: Mapping[str, str] = {}
    string_data: Mapping[str, str] = {}
    immutable: Any = None

    def __repr__(self) -> str:
        return f"<Secret {self.metadata.namespace}/{self.metadata.name} {self.type}>"

    __str__ = __repr__

    def value(self, key: str) -> bytes | None:
        """The value of a key, decoded; None = it has none."""
        if key in self.string_data:
            return self.string_data[key].encode()
        encoded = self.data.get(key)
        return None if encoded is None else _decoded(encoded)

    def mistakes(self) -> Iterator[Mistake]:
        """Rules of ValidateSecret."""
        yield from self.metadata.mistakes()
        size = sum(len(value) for value in self.string_data.values())
        for key, value in self.data.items():
            try:
                size += len(_decoded(value))
            except ValueError:
                yield Mistake(
                    ("data", key), "field_invalid", f"data.{key} is not base64", "put plain text under stringData"
                )
        if size > SIZE_BYTES:
            yield Mistake(("data",), "field_invalid", f"a Secret holds at most 1 MiB, this one {size} bytes")
        if self.type == TLS_TYPE:
            for key in TLS_KEYS:
                if key not in self.data and key not in self.string_data:
                    yield required(("data", key), f"is required in a Secret of the type {TLS_TYPE}")


def _decoded(value: str) -> bytes:
    """Raises ValueError. Line breaks, which block scalars and `base64` without -w0 leave, are no mistake."""
    return base64.b64decode("".join(value.split()), validate=True)
