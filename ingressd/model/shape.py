"""How fields are read: strict types, null means unset, and every mistake has its place in the object.

In: a value of JSON's types. Out: a frozen model, or Mistakes. What a mistake costs is decided in reading.py.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Strict, ValidationError
from pydantic.alias_generators import to_camel

T = TypeVar("T")
Items = Annotated[tuple[T, ...], Strict(False)]
"""A list of the API. What it holds is as strict as everything else."""

Loc = tuple[str | int, ...]
"""Where a value is in its object: `("spec", "rules", 0, "host")`."""


class Shape(BaseModel):
    """A structure of the Kubernetes API. Fields that ingressd does not read are there as well: they are no typos."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", alias_generator=to_camel)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One broken rule of the API."""

    loc: Loc
    code: str
    message: str
    hint: str = ""


def shown(loc: Loc) -> str:
    """`spec.rules[0].host`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def invalid(loc: Loc, value: object, must_be: str, hint: str = "") -> Mistake:
    """The value is of the right type, but not allowed."""
    return Mistake(loc, "field_invalid", f"{shown(loc)}: {shortened(value)} must be {must_be}", hint)


def required(loc: Loc, message: str = "is required", hint: str = "") -> Mistake:
    """The field is needed here."""
    return Mistake(loc, "field_required", f"{shown(loc)} {message}", hint)


def unsupported(loc: Loc, value: object, supported: tuple[str, ...]) -> Mistake:
    """The value is not one of a few words."""
    near = get_close_matches(str(value), supported, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else ""
    return invalid(loc, value, f"one of {', '.join(supported)}", hint)


def shortened(value: object) -> str:
    """The value as a message shows it."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    return text if len(text) <= 100 else f"{text[:96]}...{text[-1]}"


def shape_mistakes(error: ValidationError, raw: Any) -> Iterator[Mistake]:
    """What pydantic says, in the words of someone who writes YAML."""
    for item in error.errors(include_url=False, include_context=False):
        loc = _own_loc(item["loc"], raw)
        kind, value = item["type"], item["input"]
        if kind == "missing":
            yield required(loc)
            continue
        expected = _EXPECTED.get(kind)
        if expected is None:
            yield Mistake(loc, "field_invalid", f"{shown(loc)}: {item['msg'][:1].lower()}{item['msg'][1:]}")
            continue
        yield Mistake(
            loc, "field_type", f"{shown(loc)}: must be {expected}, not {_type_of(value)}", _type_hint(kind, loc, value)
        )


def unknown_fields(shape: type[Shape], raw: Mapping[str, Any], loc: Loc = ()) -> Iterator[Mistake]:
    """Fields that the API does not have, with the nearest one that it has."""
    known = _fields(shape)
    for key, value in raw.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "it has no meaning here: remove it"
            yield Mistake((*loc, key), "field_unknown", f"{shown((*loc, key))}: there is no such field", hint)
            continue
        child, repeated = known[key]
        if child is None:
            continue
        if repeated and isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from unknown_fields(child, item, (*loc, key, index))
        elif isinstance(value, dict):
            yield from unknown_fields(child, value, (*loc, key))


_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}
_SECRET = frozenset({"data", "stringData"})
"""Where Secrets have their values: no message shows one."""
_TYPES = {str: "a string", bool: "a boolean", int: "a number", float: "a number", dict: "a mapping", list: "a list"}


def _type_of(value: object) -> str:
    return "null" if value is None else _TYPES.get(type(value), type(value).__name__)


def _type_hint(kind: str, loc: Loc, value: object) -> str:
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        if loc[0] in _SECRET:
            return "write it in quotes"
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f'write it in quotes: {loc[-1]}: "{text}"' if isinstance(loc[-1], str) else f'write it as "{text}"'
    if kind == "int_type" and isinstance(value, str) and value.isascii() and value.isdigit():
        return f"write it without quotes: {loc[-1]}: {value}"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in {"true", "yes", "on", "false", "no", "off"}:
        return f"write {'true' if value.lower() in {'true', 'yes', 'on'} else 'false'}, without quotes"
    return ""


def _own_loc(loc: tuple[str | int, ...], raw: Any) -> Loc:
    """pydantic's place without its own additions (the member of a union)."""
    own: list[str | int] = []
    value = raw
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(value, dict) and (part in value or last) and not (last and part in {"int", "str"}):
            own.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            own.append(part)
            value = value[part] if part < len(value) else None
    return tuple(own)


@cache
def _fields(shape: type[Shape]) -> dict[str, tuple[type[Shape] | None, bool]]:
    """Name in YAML -> the shape of its value, and whether it is a list of them."""
    hints = typing.get_type_hints(shape)
    return {field.alias or name: _child(hints[name]) for name, field in shape.model_fields.items()}


def _child(hint: Any) -> tuple[type[Shape] | None, bool]:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return (hint, False) if issubclass(hint, Shape) else (None, False)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _child(arguments[0])[0], True
    if origin in (typing.Union, types.UnionType):
        for argument in arguments:
            found = _child(argument)
            if found[0] is not None:
                return found
    return None, False
