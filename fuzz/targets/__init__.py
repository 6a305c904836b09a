"""The targets: each module has `check(data)`, which raises AssertionError when a promise is broken, and WORDS.

chunked          bodies as they are cut differently, beside a reader of whole bodies
client_hello     what is read of a ClientHello, beside OpenSSL
codec            message heads and framing as they are cut differently, remembered or new, beside h11
fields           what of header fields may pass, and the answers that the proxy makes itself
forwarded        who the client is, whatever it claims
proxy_protocol   headers of the PROXY protocol as they are cut differently, beside a reader of words
target           request targets and authorities, beside a reader of decoded segments
annotations      any annotations on an Ingress, through the compiler
manifests        any text as a file of manifests
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, cast

NAMES = (
    "annotations",
    "chunked",
    "client_hello",
    "codec",
    "fields",
    "forwarded",
    "manifests",
    "proxy_protocol",
    "target",
)


class Target(Protocol):
    """What each module of this package is."""

    WORDS: tuple[bytes, ...]
    """What inputs are made of: the fuzzer puts them in whole."""
    check: Callable[[bytes], None]


def load(name: str) -> Target:
    """The target of that name."""
    if name not in NAMES:
        raise ValueError(f"no target {name!r}: there are {', '.join(NAMES)}")
    return cast("Target", importlib.import_module(f"fuzz.targets.{name}"))
