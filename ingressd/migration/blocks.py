"""`if` and `location` in a snippet: which requests their directives are for, in the words of an Ingress.

In: the words before the brace. Out: Where, or Cannot. An Ingress takes requests by host, path, method, header and
query; what else nginx can ask has no counterpart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingressd.migration.nginx_syntax import Directive
from ingressd.migration.proposals import Cannot

_WWW = re.compile(r"\^?\(?\^?www\\?\.")
_WORDS = re.compile(r"\^?\(?(?:\?:)?([A-Z]+(?:\|[A-Z]+)*)\)?\$?")
_HTTP = ("http", "^http$")
SAME_PATHS = "an Ingress of its own with the same hosts and paths"


@dataclass(frozen=True, slots=True)
class Where:
    """The Ingress that the directives of a block belong on."""

    text: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What it takes its requests by."""


@dataclass(frozen=True, slots=True)
class _Test:
    """`($VARIABLE OPERATOR VALUE)`."""

    variable: str
    operator: str
    """`=`, `!=`, `~`, `~*`, `!~`, `!~*`; empty = it is not empty."""
    value: str

    @property
    def pattern(self) -> str:
        """The value as a regular expression."""
        return f"(?i){self.value}" if self.operator == "~*" else self.value


def where_of(directive: Directive) -> Where:
    """For whom a block is. Raises Cannot."""
    if directive.name == "location":
        return _location(directive.arguments)
    if directive.name == "if":
        return _if(_test(directive.arguments))
    raise Cannot("it has no counterpart")


def whole_answer(directive: Directive) -> Mapping[str, str] | None:
    """What an `if` that only redirects or answers preflights is in one annotation of the same Ingress; None = nothing.

    Raises Cannot for an `if` that is not understood.
    """
    if directive.name != "if":
        return None
    test, inside = _test(directive.arguments), directive.block or ()
    returns = next((each.arguments for each in inside if each.name == "return"), ())
    redirects = next((each.arguments for each in inside if each.name == "rewrite"), ())
    target = " ".join((*returns[1:], *redirects[1:2]))
    if test.variable in ("scheme", "http_x_forwarded_proto") and target.startswith("https://"):
        secure = (test.operator in ("=", "~", "~*") and test.value.lower() in _HTTP) or (
            test.operator == "!=" and test.value == "https"
        )
        return {"force-ssl-redirect": "true"} if secure else None
    if test.variable == "request_method" and test.value.strip("'\"") == "OPTIONS" and test.operator == "=":
        return {"enable-cors": "true"} if returns[:1] in (("204",), ("200",)) else None
    if test.variable == "host" and test.operator in ("~", "~*") and _WWW.match(test.value) and target:
        return {"from-to-www-redirect": "true"}
    return None


def _test(arguments: tuple[str, ...]) -> _Test:
    words = " ".join(arguments).strip()
    if not words.startswith("(") or not words.endswith(")"):
        raise Cannot("the condition is not understood")
    parts = words[1:-1].strip().split(None, 2)
    if not parts or not parts[0].startswith("$"):
        raise Cannot("files are not looked at: an Ingress takes requests by host, path, method, header and query")
    variable = parts[0][1:].removeprefix("{").removesuffix("}")
    if len(parts) == 1:
        return _Test(variable, "", "")
    value = parts[2] if len(parts) > 2 else ""
    if parts[1] not in ("=", "!=", "~", "~*", "!~", "!~*"):
        raise Cannot("the condition is not understood")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return _Test(variable, parts[1], value)


def _location(arguments: tuple[str, ...]) -> Where:
    modifier, path = arguments if len(arguments) == 2 else ("", arguments[0] if arguments else "")
    if path.startswith("@") or not path:
        raise Cannot(
            "a named location has no counterpart: custom-http-errors and default-backend send errors elsewhere"
        )
    if modifier in ("~", "~*"):
        text = f"an Ingress of its own with the path {path.removeprefix('^')} (ImplementationSpecific)"
        return Where(text, {"use-regex": "true"})
    kind = "Exact" if modifier == "=" else "Prefix"
    return Where(f"an Ingress of its own with the path {path} ({kind})")


def _if(test: _Test) -> Where:
    if test.operator.startswith("!"):
        raise Cannot("`not` has no counterpart: write an Ingress for the other requests")
    family, _, name = test.variable.partition("_")
    if test.variable == "host" and test.operator == "=":
        return Where(f"an Ingress of its own for the host {test.value}")
    if test.variable == "request_method":
        return Where(SAME_PATHS, {"match-methods": _methods(test)})
    if test.variable in ("request_uri", "uri", "document_uri") and test.operator:
        exact = test.operator == "="
        path = test.value.removeprefix("^")
        kind = "Exact" if exact else "ImplementationSpecific"
        return Where(f"an Ingress of its own with the path {path} ({kind})", {} if exact else {"use-regex": "true"})
    if family == "http" and name:
        return Where(SAME_PATHS, {"match-headers": _wanted(name.replace("_", "-"), test)})
    if family == "arg" and name:
        return Where(SAME_PATHS, {"match-query": _wanted(name, test)})
    if family == "cookie" and name:
        value = re.escape(test.value) if test.operator == "=" else test.pattern or "."
        return Where(SAME_PATHS, {"match-headers": f"cookie=~{name}={value}"})
    raise Cannot(f"an Ingress does not take requests by ${test.variable}, but by host, path, method, header and query")


def _wanted(name: str, test: _Test) -> str:
    if "," in test.value:
        raise Cannot("a value with a comma cannot stand in match-headers or match-query")
    if not test.operator:
        return name
    return f"{name}={test.value}" if test.operator == "=" else f"{name}=~{test.pattern}"


def _methods(test: _Test) -> str:
    found = _WORDS.fullmatch(test.value)
    if not test.operator or found is None:
        raise Cannot("methods are named in match-methods: GET, HEAD")
    return found[1].replace("|", ", ")
