"""rewrite-target, use-regex and x-forwarded-prefix: endpoints get another target than the client asked for.

In: a request whose path a rule's path has matched as a regular expression. Out: the target in place of all of its path,
with `$1` to `$9` filled in, and the query behind it; or a redirect when the target is a URL. nginx's words for it:
`rewrite "(?i)<path>" <target> break`. Which rules are regular expressions is for compile/ to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Site, Unusable
from ingressd.filters.path_regex import path_regex
from ingressd.filters.values import boolean
from ingressd.filters.variables import Capture, Template, Variable
from ingressd.http.path_text import encoded_argument, encoded_location, encoded_path, expression, path_text
from ingressd.memo import remember
from ingressd.table.route import DEFAULT

STATUS = 302
"""Of a target that is a URL."""

_REMEMBERED = 4096
"""Rewritten paths that are not made again."""
_REMEMBERED_CHARACTERS = 256

_rewritten: dict[tuple[str, str, str], str] = {}
"""Pattern, target and path -> the path for the endpoint. All are forgotten when there are too many."""

_url = re.compile(r"https?://|\$scheme://|\$\{scheme\}://").match


@dataclass(frozen=True, slots=True)
class RewriteTarget:
    """The value of rewrite-target, taken apart."""

    text: str
    """As people wrote it."""
    path: Template
    query: Template | None
    """What stands behind a question mark."""
    appends: bool
    """The query of the request follows; a question mark at the very end keeps it out."""
    external: bool
    """It is a URL."""

    @classmethod
    def parse(cls, text: str) -> RewriteTarget:
        """Raises ValueError."""
        if not text or not text.isprintable():
            raise ValueError('a path or a URL, as in "/$2"')
        whole = text.removesuffix("?")
        path, mark, query = whole.partition("?")
        external = _url(path) is not None
        return cls(
            text,
            _escaped(Template.parse(path, captures=True), external=external),
            _escaped(Template.parse(query, captures=True), external=True) if mark else None,
            whole == text,
            external,
        )

    @property
    def by_path(self) -> bool:
        """It says the same whenever the path is the same."""
        varies = any(isinstance(part, Variable) for part in self.path.parts)
        return not (self.external or varies or self.query is not None)

    @property
    def captures(self) -> int:
        """The highest number that it asks for."""
        parts = (*self.path.parts, *(() if self.query is None else self.query.parts))
        return max((part.number for part in parts if isinstance(part, Capture)), default=0)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Rewrites to `target` what `pattern` finds."""

    pattern: str
    target: RewriteTarget
    prefix: Template | None = None
    """For X-Forwarded-Prefix."""
    _remembers: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_remembers", self.prefix is None and self.target.by_path)

    def __str__(self) -> str:
        text = f"rewrite-target: {self.pattern} to {self.target.text}"
        return text if self.prefix is None else f"{text}, X-Forwarded-Prefix: {self.prefix}"

    def on_request(self, request: Request) -> LocalReply | None:
        """A redirect for a URL, else nothing but another target for the endpoint."""
        path = request.path
        if self._remembers and (known := _rewritten.get((self.pattern, self.target.text, path))) is not None:
            query = request.query if self.target.appends else ""
            request.rewrite(f"{known}?{query}" if query else known, checked=True)
            return None
        match = expression(self.pattern).search(path_text(path))
        if match is None:
            return None
        groups = match.groups("")
        rewritten = self._target(request, groups)
        if self.target.external:
            return LocalReply(STATUS, Reason.REDIRECT, headers=((b"Location", rewritten.encode("ascii")),))
        if rewritten[:1] != "/":
            rewritten = f"/{rewritten}"
        request.rewrite(rewritten)
        if self._remembers and len(path) <= _REMEMBERED_CHARACTERS:
            remember(_rewritten, (self.pattern, self.target.text, path), rewritten.partition("?")[0], _REMEMBERED)
        if self.prefix is not None:
            request.set_header("X-Forwarded-Prefix", self.prefix.render(request, groups))
        return None

    def _target(self, request: Request, groups: tuple[str, ...]) -> str:
        target = self.target
        path = target.path.render(request, tuple(map(encoded_path, groups)))
        query = request.query if target.appends else ""
        if target.query is not None:
            own = target.query.render(request, tuple(map(encoded_argument, groups)))
            query = f"{own}&{query}" if own and query else own or query
        # A variable may hold what a client sent in a field.
        return encoded_location(f"{path}?{query}" if query else path)


def _escaped(template: Template, *, external: bool) -> Template:
    """What people wrote, as it stands in a target."""
    escape = encoded_location if external else encoded_path
    return replace(template, parts=tuple(escape(part) if isinstance(part, str) else part for part in template.parts))


def _prefix(text: str) -> Template:
    if not text.isprintable():
        raise ValueError('the value of a field, as in "/app"')
    return Template.parse(text, captures=True)


class _Spec(FilterSpec):
    name = "rewrite-target, use-regex"
    by_path = True
    annotations = (
        Annotation(
            "use-regex",
            boolean,
            "the paths of the Ingress are regular expressions",
            "false",
            note="They are those of this Ingress only, unless --regex-scope is host.",
        ),
        Annotation(
            "rewrite-target",
            RewriteTarget.parse,
            "send this target to the endpoint; the paths of the Ingress are regular expressions",
            "none",
            note="In captures %2F stays as it is: it is no separator. A result without a slash at its beginning gets"
            " one.",
        ),
        Annotation("x-forwarded-prefix", _prefix, "send X-Forwarded-Prefix beside a rewritten target", "none"),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        target: RewriteTarget | None = values.get("rewrite-target")
        if target is None or site.path_type == DEFAULT or target.text == site.path:
            return None
        try:
            pattern = path_regex(site.path).rewrite
        except ValueError:
            return None  # the route is closed, and a fault says why
        return Rewrite(pattern, target, values.get("x-forwarded-prefix"))

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        target: RewriteTarget | None = values.get("rewrite-target")
        if target is None:
            if "x-forwarded-prefix" in values:
                yield Unusable("x-forwarded-prefix", "it is sent beside a rewrite-target only", "set that, too")
            return
        # A path that is no expression is that of app-root, whose requests go no further.
        built = self.build(values, site) if site.regex else None
        if isinstance(built, Rewrite) and target.captures > expression(built.pattern).groups:
            yield Unusable(
                "rewrite-target",
                f"${target.captures} is always empty: the path {site.path} has fewer parentheses",
                "write parentheses around the part of the path that is to be kept",
            )


SPEC = _Spec()
