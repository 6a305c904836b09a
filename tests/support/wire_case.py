"""WireCase: one conversation in raw bytes, read from a data file.

In: tests/wire/cases/*.yaml. Out: frozen cases. A mistake in a file is a ValueError that names the case. The keys
are described in tests/wire/cases/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.recorder import CLOSE, HOLD, KEEP, RESET, Step

CASES = Path(__file__).parent.parent / "wire" / "cases"
NOTHING, CUT_OFF = "nothing", "cut off"
KEPT, CLOSED, CUT, ANY = "kept", "closed", "cut", "any"
EACH = "{each}"

_CASE_KEYS = {
    "name",
    "why",
    "request",
    "pieces",
    "methods",
    "each",
    "cuts",
    "warm",
    "settings",
    "limits",
    "backend",
    "expect",
}
_EXPECT_KEYS = {"status", "interim", "body", "has", "lacks", "connection", "upstream", "pool", "reason"}
_STEP_KEYS = {"send", "pieces", "early", "then", "later"}
_CUTS = {"none", "bytes", "every"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come of it."""

    status: tuple[int, ...]
    """Of the final answers on the connection, in order."""
    interim: tuple[int, ...] = ()
    body: bytes | None = None
    """Of the last answer, decoded."""
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()
    """Parts that must, and must not, be in what the client gets."""
    connection: str = KEPT
    upstream: tuple[bytes, ...] | str | None = None
    """The requests that the backend saw; NOTHING; CUT_OFF: none that it could take for whole; None: not looked at."""
    pool: str = ""
    """The only backend that may have seen anything; empty: not looked at."""
    reason: str = ""

    @property
    def refused(self) -> bool:
        """The proxy answers by itself, and the backend must not hear of it."""
        return self.upstream == NOTHING


@dataclass(frozen=True, slots=True)
class WireCase:
    """Bytes in, and what must come of them."""

    name: str
    why: str
    request: bytes
    expect: Expectation
    pieces: tuple[bytes, ...] = ()
    """The request as it is to be cut; empty: in one piece."""
    methods: tuple[str, ...] = ("GET",)
    """Of the requests; what follows them is GET. The reader of the answers has to know which are HEAD."""
    cuts: str = "none"
    warm: bool = False
    """An idle upstream connection is there already."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    script: tuple[Step, ...] = ()

    def ways(self) -> Iterator[tuple[bytes, ...]]:
        """The ways in which the request is cut."""
        request = self.request
        yield self.pieces or (request,)
        if self.cuts != "none":
            yield tuple(request[at : at + 1] for at in range(len(request)))
        if self.cuts == "every":
            for at in range(1, len(request)):
                yield request[:at], request[at:]


def load(path: Path) -> list[WireCase]:
    """The cases of one file, with those that `each` makes of one."""
    cases = [case for raw in yaml.safe_load(path.read_text()) for case in _cases(raw)]
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"{path.name}: two cases have the same name")
    return cases


def load_all() -> Iterator[tuple[str, WireCase]]:
    """The cases of all files, each with an id."""
    for path in sorted(CASES.glob("*.yaml")):
        for case in load(path):
            yield f"{path.stem}: {case.name}", case


def _cases(raw: dict[str, Any]) -> Iterator[WireCase]:
    if "each" not in raw:
        yield _case(raw)
        return
    for number, part in enumerate(raw["each"], 1):
        filled = {key: _filled(value, part) for key, value in raw.items() if key != "each"}
        yield _case({**filled, "name": f"{raw['name']} {number}: {_shown(part)}"})


def _case(raw: dict[str, Any]) -> WireCase:
    name = raw.get("name", "without a name")
    unknown = raw.keys() - _CASE_KEYS
    if unknown or not {"name", "why", "expect"} <= raw.keys() or raw.get("cuts", "none") not in _CUTS:
        raise ValueError(f"{name}: malformed case, unknown keys {sorted(unknown)}")
    pieces = tuple(_bytes(piece) for piece in raw.get("pieces", ()))
    request = _bytes(raw["request"]) if "request" in raw else b"".join(pieces)
    first = "HEAD" if request.startswith(b"HEAD ") else "GET"
    return WireCase(
        name=name,
        why=raw["why"],
        request=request,
        methods=(*raw.get("methods", [first]), "GET"),
        pieces=pieces,
        cuts=raw.get("cuts", "none"),
        warm=raw.get("warm", False),
        settings={key: tuple(value) if isinstance(value, list) else value for key, value in _of(raw, "settings")},
        limits=raw.get("limits", {}),
        script=tuple(_step(step) for step in raw.get("backend", ())),
        expect=_expectation(name, raw["expect"]),
    )


def _expectation(name: str, raw: int | dict[str, Any]) -> Expectation:
    """A number alone is a refusal: that status, the connection closed, nothing upstream."""
    if isinstance(raw, int):
        return Expectation(status=(raw,), connection=CLOSED, upstream=NOTHING)
    unknown = raw.keys() - _EXPECT_KEYS
    if unknown or raw.get("connection", KEPT) not in {KEPT, CLOSED, CUT, ANY}:
        raise ValueError(f"{name}: malformed expectation, unknown keys {sorted(unknown)}")
    status, upstream = raw.get("status", 200), raw.get("upstream")
    if upstream not in {None, NOTHING, CUT_OFF} if not isinstance(upstream, list) else False:
        upstream = [upstream]
    return Expectation(
        status=tuple(int(str(one)[:3]) for one in (status if isinstance(status, list) else [status])),
        interim=tuple(raw.get("interim", ())),
        body=_bytes(raw["body"]) if "body" in raw else None,
        has=tuple(_bytes(part) for part in raw.get("has", ())),
        lacks=tuple(_bytes(part) for part in raw.get("lacks", ())),
        connection=raw.get("connection", KEPT),
        upstream=tuple(_bytes(request) for request in upstream) if isinstance(upstream, list) else upstream,
        pool=raw.get("pool", ""),
        reason=raw.get("reason", ""),
    )


def _step(raw: str | dict[str, Any]) -> Step:
    if isinstance(raw, str):
        return Step((_bytes(raw),))
    if raw.keys() - _STEP_KEYS or raw.get("then", KEEP) not in {KEEP, CLOSE, RESET, HOLD}:
        raise ValueError(f"malformed step of a backend: {raw}")
    pieces = raw["pieces"] if "pieces" in raw else [raw["send"]] if "send" in raw else []
    return Step(
        tuple(_bytes(piece) for piece in pieces),
        early=raw.get("early", False),
        then=raw.get("then", KEEP),
        later=_bytes(raw.get("later", "")),
    )


def _bytes(raw: str | list[Any] | dict[str, Any]) -> bytes:
    """The bytes of a text: up to U+00FF a character is a byte, beyond that it is its UTF-8. See the README."""
    if isinstance(raw, list):
        return b"".join(_bytes(part) for part in raw)
    if isinstance(raw, dict):
        if raw.keys() == {"numbered", "times"}:
            return b"".join(_bytes(raw["numbered"].replace("{n}", str(n))) for n in range(raw["times"]))
        if raw.keys() == {"hex"}:
            return bytes.fromhex(raw["hex"])
        return _bytes(raw["repeat"]) * int(raw["times"])
    return b"".join(character.encode("latin-1" if character <= "\xff" else "utf-8") for character in raw)


def _of(raw: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    yield from raw.get(key, {}).items()


def _filled(value: Any, part: str) -> Any:
    if isinstance(value, str):
        return value.replace(EACH, part)
    if isinstance(value, list):
        return [_filled(item, part) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, part) for key, item in value.items()}
    return value


def _shown(part: str) -> str:
    """A part of an id: printable ASCII."""
    return ascii(part)[1:-1]
