"""proxy-cookie-domain, proxy-cookie-path: what an endpoint says in Set-Cookie, as clients reach it.

In: `FROM TO`, as nginx has it; FROM may be a regular expression after `~` or `~*`. `off` changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site
from ingressd.filters.regex_safety import refusal
from ingressd.filters.variables import Template

_SEARCHED = 1024
"""Characters of an attribute in which an expression is looked for, which can cost their square: browsers pass over a
longer one, too (RFC 6265bis section 5.6)."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """One rule."""

    text: str
    literal: str
    pattern: re.Pattern[str] | None
    to: Template
    whole: bool
    """A domain is replaced as a whole, a path from its beginning. What an expression finds is replaced as a whole."""

    def applied(self, value: str, request: Request) -> str | None:
        """The value of the attribute; None = it stays."""
        if self.pattern is not None:
            match = self.pattern.search(value) if len(value) <= _SEARCHED else None
            return None if match is None else self.to.render(request, match.groups())
        if self.whole:
            # A dot at the beginning means nothing in any of the three (RFC 6265 section 5.2.3), and stays.
            dot, name = value[: value[:1] == "."], value.removeprefix(".")
            same = name.lower() == self.literal.lower().removeprefix(".")
            return dot + self.to.render(request).removeprefix(".") if same else None
        return self.to.render(request) + value[len(self.literal) :] if value.startswith(self.literal) else None


def _replacement(text: str, *, whole: bool) -> Replacement | None:
    """None = off. Raises ValueError."""
    if text.strip() == "off":
        return None
    words = text.split()
    if len(words) != 2:
        raise ValueError('"off", or what is replaced and what takes its place, with a blank between them')
    written, to = words
    if written.startswith("~"):
        insensitive = written.startswith("~*")
        expression = written[2 if insensitive else 1 :]
        flags = re.IGNORECASE if insensitive or whole else 0  # domains have no case
        if why := refusal(expression, flags):
            raise ValueError(f"a regular expression that is used here: it {why}")
        return Replacement(text, "", re.compile(expression, flags), Template.parse(to, captures=True), whole)
    return Replacement(text, written, None, Template.parse(to), whole)


def domain(text: str) -> Replacement | None:
    """Raises ValueError."""
    return _replacement(text, whole=True)


def path(text: str) -> Replacement | None:
    """Raises ValueError."""
    return _replacement(text, whole=False)


@dataclass(frozen=True, slots=True)
class ProxyCookie:
    """Both rules of an Ingress."""

    domain: Replacement | None
    path: Replacement | None

    def __str__(self) -> str:
        rules = [("domain", self.domain), ("path", self.path)]
        return f"cookies of the endpoint: {', '.join(f'{name} {rule.text}' for name, rule in rules if rule)}"

    def on_response(self, request: Request, response: Response) -> None:
        """See ResponseFilter."""
        cookies = response.headers("set-cookie")
        if not cookies or response.reason:
            return
        response.remove_header("set-cookie")
        for cookie in cookies:
            response.add_header("Set-Cookie", self._changed(cookie, request))

    def _changed(self, cookie: str, request: Request) -> str:
        pair, *attributes = cookie.split(";")
        changed = [pair]
        for attribute in attributes:
            name, equals, value = attribute.partition("=")
            rule = {"domain": self.domain, "path": self.path}.get(name.strip().lower())
            new = rule.applied(value.strip(), request) if rule is not None and equals else None
            changed.append(attribute if new is None else f"{name}={new}")
        return ";".join(changed)


class _Spec(FilterSpec):
    name = "proxy-cookie"
    annotations = (
        Annotation("proxy-cookie-domain", domain, "the Domain of an endpoint's cookies, and what replaces it", "off"),
        Annotation("proxy-cookie-path", path, "the Path of an endpoint's cookies, and what replaces it", "off"),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        rules = values.get("proxy-cookie-domain"), values.get("proxy-cookie-path")
        return ProxyCookie(*rules) if any(rules) else None


SPEC = _Spec()
