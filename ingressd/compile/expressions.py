"""Expressions: paths of rules that are regular expressions.

In: an Ingress, its Policy, a path as it is written. Out: where it says that its paths are expressions, and Routes of
the type Regex. One that is not understood is closed, and a fault says why.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ingressd.compile.policies import Policy
from ingressd.errors import Fault, Severity
from ingressd.filters.path_regex import literal_text, path_regex
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.table.route import REGEX, Expression, Route


def regex_hosts(ingress: Resource[Ingress], policy: Policy) -> dict[str, Loc]:
    """The hosts on which the paths of an Ingress are regular expressions, and where it says so."""
    values, rules = policy.values, ingress.object.spec.rules
    if values.get("use-regex", False):
        return dict.fromkeys((rule.host for rule in rules), policy.loc_of("use-regex"))
    target = values.get("rewrite-target")
    if target is None:
        return {}
    # A target that is the path itself rewrites nothing.
    hosts = (
        rule.host
        for rule in rules
        if rule.http is not None and any((path.path or "/") != target.text for path in rule.http.paths)
    )
    return dict.fromkeys(hosts, policy.loc_of("rewrite-target"))


def regex_taken(written: str) -> tuple[bool, str]:
    """What rules.Taken is of an expression: two that are written alike take the same requests."""
    return False, f"~{written}"


def regex_route(
    ingress: Resource[Ingress], route: Route, written: str, loc: Loc, *, split: bool, faults: list[Fault]
) -> Route:
    """`route` with a regular expression for its path. With `split` it is two locations, as a Prefix is in nginx."""
    denied = ""
    try:
        expressions = [Expression(written, path_regex(written).location)]
        if split and written[-1:] != "/":
            expressions.append(Expression(f"{written}/", path_regex(f"{written}/").location))
    except ValueError as problem:
        # nginx would refuse its whole configuration. What may have been meant for this path gets nowhere else.
        literal = literal_text(written)
        expressions = [Expression(written, re.escape(literal))]
        denied = f"the regular expression {written} {problem}"
        message = f"{denied}; requests for paths that begin with {literal} get 503 where it would be tried"
        hint = "docs/regex-paths.md says what is understood"
        faults.append(ingress.fault(Severity.ERROR, "regex_invalid", message, hint, (*loc, "path")))
    return replace(
        route,
        id=f"{ingress.namespace}/{ingress.name} {route.host or '*'} {written} {REGEX}",
        path=written,
        path_type=REGEX,
        expressions=tuple(expressions),
        denied=route.denied or denied,
    )
