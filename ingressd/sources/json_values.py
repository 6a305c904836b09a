"""JSON files: the same values, limits and mistakes as YAML.

In: the text of a file. Out: a value of JSON's types, or a Refused with its place.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from ingressd.sources.yaml_values import DEPTH, INTEGER_DIGITS, TWICE, VALUES, Refused, read_yaml

# A string that is never closed matches too: tried again from each of its quotes, it would cost its length squared.
_structure = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*"?|[\[\]{},]', re.DOTALL).finditer


class _Twice(Exception):
    """A key that occurs twice; the JSON decoder does not say where."""


def read_json(text: str) -> Any:
    """The value of a JSON text; None when it is empty. Raises Refused."""
    if not text.strip():
        return None
    _measure(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_mapping, parse_constant=_no_constant, parse_int=_integer, parse_float=_float
        )
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        message = f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        hint = "JSON has no comments and no comma after the last item; a .yaml file may have comments"
        raise Refused("json_syntax", message, hint, error.lineno, error.colno) from None
    except UnicodeEncodeError:
        message = "a string holds half of a surrogate pair"
        raise Refused("json_syntax", message, "write the character itself", 1, 1) from None
    except _Twice as twice:
        # JSON is YAML when its tabs are spaces, and YAML knows the place.
        try:
            read_yaml(text.replace("\t", " "))
        except Refused as refused:
            if refused.code == TWICE:
                raise
        raise Refused(TWICE, f"the key `{twice}` is written twice", "remove one of them", 1, 1) from None
    except _Constant as constant:
        raise Refused("json_syntax", f"this is not JSON: {constant}", "write it in quotes", 1, 1) from None


class _Constant(Exception):
    """NaN, Infinity, or a number that cannot be held."""


def _measure(text: str) -> None:
    """Refuse what is nested too deep, before the decoder's stack is spent on it."""
    depth = 0
    for count, match in enumerate(_structure(text)):
        character = match[0]
        if character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if depth > DEPTH or count > 2 * VALUES:
            before = text[: match.start()]
            line, column = before.count("\n") + 1, match.start() - before.rfind("\n")
            if depth > DEPTH:
                raise Refused("yaml_depth", f"nested more than {DEPTH} deep", "no Kubernetes object is", line, column)
            message = f"more than {VALUES:,} values in one document"
            raise Refused("document_too_large", message, "split it into several files", line, column)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {}
    seen = set()
    for key, value in pairs:
        if key in seen:
            raise _Twice(key[:100])
        seen.add(key)
        if value is not None:
            found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise _Constant(f"{text} is no number")


def _integer(text: str) -> int:
    if len(text) > INTEGER_DIGITS:
        raise _Constant(f"a number of {len(text)} digits cannot be held")
    return int(text)


def _float(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise _Constant("a number is too large to be held")
    return found
