"""compression: send text smaller, in a coding that the client takes (RFC 9110 section 8.4).

In: a response in no coding, of a type that is worth it. Out: the same in zstd, br or gzip, piece by piece as it comes:
after each piece everything that is known of it is sent. A response that says that nobody may change it, stays.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import brotli
import zstandard

from ingressd.filters.base import Annotation, Encoder, Filter, FilterSpec, Request, Response, Site
from ingressd.filters.values import boolean, items, whole

TYPES = (
    "text/*",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "application/manifest+json",
    "application/ld+json",
    "application/problem+json",
    "application/rss+xml",
    "application/atom+xml",
    "application/xhtml+xml",
    "application/vnd.ms-fontobject",
    "font/ttf",
    "font/otf",
    "image/svg+xml",
)
CODINGS = ("zstd", "br", "gzip")
LEAST_BYTES = 1024
_BODILESS = frozenset({204, 206, 304})
"""206 too: a part of something is a part of it in its coding."""
_media_range = re.compile(r"[a-z0-9!#$&^_.+-]+/(?:\*|[a-z0-9!#$&^_.+-]+)").fullmatch
_GZIP_WINDOW = 31


class _Gzip:
    def __init__(self, level: int) -> None:
        self._object = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)

    def feed(self, data: bytes) -> bytes:
        return self._object.compress(data) + self._object.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._object.flush()


class _Brotli:
    def __init__(self, level: int) -> None:
        self._object = brotli.Compressor(quality=level)

    def feed(self, data: bytes) -> bytes:
        return bytes(self._object.process(data) + self._object.flush())

    def finish(self) -> bytes:
        return bytes(self._object.finish())


class _Zstd:
    def __init__(self, level: int) -> None:
        self._object = zstandard.ZstdCompressor(level=level).compressobj()

    def feed(self, data: bytes) -> bytes:
        return self._object.compress(data) + self._object.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._object.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


_LEVELS = {"gzip": 5, "br": 4, "zstd": 3}
_ENCODERS: dict[str, type[_Gzip] | type[_Brotli] | type[_Zstd]] = {"gzip": _Gzip, "br": _Brotli, "zstd": _Zstd}


@dataclass(frozen=True, slots=True)
class Compression:
    """Which responses are sent smaller, and how."""

    codings: tuple[str, ...]
    """The one that is liked most comes first."""
    types: frozenset[str]
    least_bytes: int

    def __str__(self) -> str:
        return f"compression: {', '.join(self.codings)}"

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter."""
        if response.reason or not self._is_worth_it(response):
            return
        vary = response.header("vary")
        if vary is None or ("*" not in vary and "accept-encoding" not in vary.lower()):
            response.add_header("Vary", "Accept-Encoding")
        coding = chosen(request.header("accept-encoding"), self.codings)
        if not coding:
            return
        response.set_header("Content-Encoding", coding)
        response.remove_header("accept-ranges")
        etag = response.header("etag")
        if etag is not None and not etag.startswith("W/"):
            response.set_header("ETag", f"W/{etag}")  # RFC 9110 section 8.8.1: the octets differ, the meaning does not
        response.encode(encoder(coding))

    def _is_worth_it(self, response: Response) -> bool:
        if response.status in _BODILESS or response.status < 200 or response.header("content-encoding") is not None:
            return False
        if "no-transform" in (response.header("cache-control") or "").lower():
            return False
        length = response.header("content-length")
        if length is not None and (not length.isdigit() or int(length) < self.least_bytes):
            return False
        media = (response.header("content-type") or "").partition(";")[0].strip().lower()
        # What comes as events has to come at once, and some who read them do not decode.
        if media == "text/event-stream":
            return False
        return media in self.types or f"{media.partition('/')[0]}/*" in self.types


def encoder(coding: str) -> Encoder:
    """A new one."""
    return _ENCODERS[coding](_LEVELS[coding])


def chosen(accepted: str | None, codings: tuple[str, ...]) -> str:
    """The coding of `codings` that Accept-Encoding weighs most; the first of equals. Empty = none."""
    if not accepted:
        return ""
    weights: dict[str, float] = {}
    for item in accepted.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[name] = _weight(parameters)
    others = weights.get("*", 0.0)
    best = max(codings, key=lambda coding: weights.get(coding, others))
    return best if weights.get(best, others) > 0 else ""


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def _codings(text: str) -> tuple[str, ...]:
    names = items(text.lower())
    if not names or not set(names) <= set(CODINGS):
        raise ValueError(f"some of {', '.join(CODINGS)}, with commas between them")
    return names


def _types(text: str) -> frozenset[str]:
    names = items(text.lower())
    if not names or not all(map(_media_range, names)):
        raise ValueError('media types with commas, as in "text/*, application/json"')
    return frozenset(names)


class _Spec(FilterSpec):
    name = "compression"
    annotations = (
        Annotation("compression", boolean, "send responses compressed to clients that take it", "false", native=True),
        Annotation("compression-codings", _codings, "the codings, the best first", ", ".join(CODINGS), native=True),
        Annotation("compression-types", _types, "the media types", ", ".join(TYPES), native=True),
        Annotation("compression-min-size", whole(), "bytes of the smallest response", str(LEAST_BYTES), native=True),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        if not values.get("compression", False):
            return None
        return Compression(
            values.get("compression-codings", CODINGS),
            values.get("compression-types", frozenset(TYPES)),
            values.get("compression-min-size", LEAST_BYTES),
        )


SPEC = _Spec()
