"""enable-cors and the cors- family: pages of other origins may read the answers of this route (Fetch standard).

In: requests with an Origin. Out: a preflight is answered with 204 and never reaches an endpoint; every other response
gets the Access-Control fields when the origin is allowed. What an endpoint says about other origins is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Site
from ingressd.filters.partly import Partly
from ingressd.filters.values import boolean, items, whole
from ingressd.http.edited_lines import FixedFields

METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
HEADERS = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
MAX_AGE_S = 1_728_000

_origin = re.compile(r"([a-z][a-z0-9+.-]*)://(\*\.)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5}|:\*)?").fullmatch
_token_list = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*").fullmatch


@dataclass(frozen=True, slots=True)
class Origins:
    """Which origins are allowed."""

    any: bool
    exact: frozenset[str]
    wildcards: tuple[tuple[str, str], ...]
    """What an origin begins and ends with; between the two is one label."""

    @classmethod
    def parse(cls, text: str) -> Origins:
        """Raises Partly, with those that are origins: one that is none does not open the route to all of them."""
        exact: set[str] = set()
        wildcards: list[tuple[str, str]] = []
        every = False
        wrong: list[str] = []
        for item in items(text):
            match = _origin(item)
            if item == "*":
                every = True
            elif match is None:
                wrong.append(item)
            elif match[2]:
                wildcards.append((f"{match[1]}://", f".{match[3]}{match[4] or ''}".lower()))
            else:
                exact.add(item.lower())
        made = cls(every, frozenset(exact), tuple(wildcards))
        some = every or exact or wildcards
        if wrong or not some:
            text = '"*" or origins with commas, as in "https://a.test, https://*.b.test"'
            text += f": not {', '.join(wrong)}" if wrong else ""
            raise Partly(text, made, "only the others are allowed" if some else "none is allowed")
        return made

    def allows(self, origin: str) -> bool:
        """Whether a page of `origin` may read answers."""
        if self.any:
            return True
        origin = origin.lower()
        return origin in self.exact or any(
            origin.startswith(scheme)
            and origin.endswith(rest)
            and len(label := origin[len(scheme) : -len(rest)]) > 0
            and "." not in label
            and "/" not in label
            for scheme, rest in self.wildcards
        )


def names(what: str) -> Callable[[str], str]:
    """A parser of tokens between commas, which are sent as they were written."""

    def parse(text: str) -> str:
        if _token_list(text.strip()):
            return text.strip()
        raise ValueError(f"{what} with commas between them")

    return parse


@dataclass(frozen=True, slots=True)
class Cors:
    """The cors- annotations of an Ingress."""

    origins: Origins
    methods: str
    headers: str
    credentials: bool
    exposed: str
    max_age_s: int
    _granted: FixedFields = field(init=False, repr=False, compare=False, default=FixedFields())
    """What is alike for all origins that are allowed; all there is, when all of them are."""

    def __post_init__(self) -> None:
        # With credentials, browsers take no `*`: to name any origin instead would let every page in as its visitor.
        fields = [("Access-Control-Allow-Origin", "*")] if self.origins.any else []
        if self.credentials:
            fields.append(("Access-Control-Allow-Credentials", "true"))
        fields += [
            ("Access-Control-Allow-Methods", self.methods),
            ("Access-Control-Allow-Headers", self.headers),
            *([("Access-Control-Expose-Headers", self.exposed)] if self.exposed else []),
            ("Access-Control-Max-Age", str(self.max_age_s)),
        ]
        object.__setattr__(self, "_granted", FixedFields.of(fields))

    def __str__(self) -> str:
        return "cors"

    @property
    def constant(self) -> bool:
        """See ResponseFilter."""
        return self.origins.any

    def on_request(self, request: Request) -> LocalReply | None:
        """204 for every OPTIONS; what it allows is added by `on_response`, as to any answer."""
        if request.method != "OPTIONS":
            return None
        return LocalReply(204, Reason.CORS_PREFLIGHT)

    def on_response(self, request: Request, response: Response) -> None:
        """The Access-Control fields, when the origin is allowed."""
        response.remove_all(_FIELDS)
        if not self.origins.any:
            response.add_fixed(_VARY)
            origin = request.header("origin")
            if origin is None or not self.origins.allows(origin):
                return
            response.add_header("Access-Control-Allow-Origin", origin)
        response.add_fixed(self._granted)


_VARY = FixedFields.of([("Vary", "Origin")])
_FIELDS = frozenset(
    {
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-expose-headers",
        "access-control-max-age",
    }
)


def _credentials(text: str) -> bool:
    try:
        return boolean(text)
    except ValueError as problem:
        raise Partly(str(problem), False, "none are allowed") from None


class _Spec(FilterSpec):
    name = "cors"
    annotations = (
        Annotation("enable-cors", boolean, "answer preflights here, and let other origins read answers", "false"),
        Annotation("cors-allow-origin", Origins.parse, "the origins; one label may be `*`", "*"),
        Annotation("cors-allow-methods", names("methods"), "the methods", METHODS),
        Annotation("cors-allow-headers", names("field names"), "the fields that requests may have", HEADERS),
        Annotation("cors-allow-credentials", _credentials, "requests may carry cookies and credentials", "true"),
        Annotation("cors-expose-headers", names("field names"), "the fields of answers that pages may read", ""),
        Annotation("cors-max-age", whole(), "seconds for which a preflight holds", str(MAX_AGE_S)),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        if not values.get("enable-cors", False):
            return None
        return Cors(
            origins=values.get("cors-allow-origin", Origins(True, frozenset(), ())),
            methods=values.get("cors-allow-methods", METHODS),
            headers=values.get("cors-allow-headers", HEADERS),
            credentials=values.get("cors-allow-credentials", True),
            exposed=values.get("cors-expose-headers", ""),
            max_age_s=values.get("cors-max-age", MAX_AGE_S),
        )


SPEC = _Spec()
