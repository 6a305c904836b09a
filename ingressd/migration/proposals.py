"""What is proposed in place of one directive of nginx, and how several of them become annotations to paste.

In: directives that were understood. Out: Proposals. An annotation is proposed only if ingressd reads its value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ingressd.filters.header_values import headers
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.values import items

PREFIX = "ingressd.dev/"
LINES = frozenset({"response-headers-set", "response-headers-add", "request-headers-set", "request-headers-add"})
"""Annotations of `NAME: VALUE` lines."""
LISTS = frozenset(
    {
        "allowlist-source-range",
        "cors-allow-headers",
        "cors-expose-headers",
        "custom-http-errors",
        "denylist-source-range",
        "match-headers",
        "match-query",
        "request-headers-remove",
        "response-headers-remove",
    }
)
"""Annotations of items with commas between them."""


class Verdict(StrEnum):
    """What becomes of a directive."""

    REPLACED = "replaced"
    """Annotations do the same."""
    APART = "apart"
    """Annotations do the same on an Ingress of their own."""
    ALREADY = "already"
    """Nothing is to be done: it is so without it."""
    NONE = "none"
    """Nothing does the same."""


class Cannot(ValueError):
    """There is no annotation for it. The text says why, and what to do instead."""


class Already(ValueError):
    """Nothing is to be done for it. The text says why."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is said about one directive."""

    directive: str
    line: int
    """Within the snippet."""
    verdict: Verdict
    annotations: tuple[tuple[str, str], ...] = ()
    """Names without prefix, and values."""
    where: str = ""
    """Of APART: which Ingress that is."""
    remark: str = ""
    """What differs, or what to mind; of NONE and ALREADY the reason."""

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {
            "directive": self.directive,
            "line": self.line,
            "verdict": str(self.verdict),
            "annotations": {f"{PREFIX}{name}": value for name, value in self.annotations},
            "where": self.where,
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """What a directive asks for, before anybody has looked whether ingressd reads it."""

    annotations: Mapping[str, str]
    remark: str = ""


def checked(draft: Draft) -> tuple[tuple[str, str], ...]:
    """The annotations of a draft. Raises Cannot when one is not read, or not as it is meant."""
    for name, value in draft.annotations.items():
        annotation = ANNOTATIONS.get(name)
        if annotation is None:
            raise Cannot(f"there is no {PREFIX}{name}")
        if not value.isprintable():
            raise Cannot("its value has characters that nobody can paste")
        try:
            annotation.parse(merged(name, [value]))
        except ValueError as problem:
            raise Cannot(f'{PREFIX}{name} would do it, but "{value}" must be {problem}') from None
    return tuple(draft.annotations.items())


def merged(name: str, values: Iterable[str]) -> str:
    """One value for several directives: lines and lists grow, of anything else the last one counts, as in nginx."""
    unique = list(dict.fromkeys(values))
    if name in LINES:
        return _lines(unique)
    if name in LISTS:
        # An expression may have a comma in it; names and addresses have none.
        parts = unique if name.startswith("match-") else [item for value in unique for item in items(value)]
        return ", ".join(dict.fromkeys(parts))
    return unique[-1]


def together(proposals: Iterable[Proposal]) -> dict[str, dict[str, str]]:
    """Where -> annotations with their prefix; `""` is the Ingress that has the snippet."""
    found: dict[str, dict[str, list[str]]] = {}
    for proposal in proposals:
        for name, value in proposal.annotations:
            found.setdefault(proposal.where, {}).setdefault(name, []).append(value)
    return {
        where: {f"{PREFIX}{name}": merged(name, values) for name, values in annotations.items()}
        for where, annotations in found.items()
    }


def yaml_lines(annotations: Mapping[str, str]) -> Iterator[str]:
    """To paste under `annotations:`."""
    for key, value in annotations.items():
        if "\n" in value:
            yield f"{key}: |"
            yield from (f"  {line}" for line in value.splitlines())
        else:
            yield f"{key}: {json.dumps(value, ensure_ascii=False)}"


def _lines(values: list[str]) -> str:
    text = "".join(f"{value}\n" for value in values)
    try:
        understood = [f"{name}: {value}" for name, value in headers(text)]
    except ValueError:
        understood = []
    # A single line is cut at its semicolons: with a second one, lines are what counts.
    return text if understood == values else f"{text};\n"
