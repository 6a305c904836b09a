"""How a rule's path compares with a request's path (Kubernetes Ingress, pathType).

In: canonical paths (http/target.py). Comparison is case-sensitive, element by element; a trailing slash of a Prefix
says nothing. An expression compares the path's text (http/path_text.py), from its beginning, in either case.
"""

from __future__ import annotations

from ingressd.http.path_text import expression, path_text
from ingressd.table.route import EXACT, REGEX, Route


def prefix_key(path: str) -> str:
    """What Prefix rules that take the same requests have in common: `/foo` and `/foo/` are `/foo`, `/` is ``."""
    return path[:-1] if path.endswith("/") else path


def wildcard_of(host: str) -> str:
    """The wildcard host that takes `host`: `*.` replaces exactly one label; empty when there is none."""
    label, dot, parent = host.partition(".")
    return f"*.{parent}" if label and dot and parent else ""


def takes(route: Route, path: str) -> bool:
    """Whether the route's own path and type take `path`, whatever other routes there are."""
    if route.path_type == REGEX:
        return any(expression(each.pattern).match(path_text(path)) for each in route.expressions)
    if route.path_type == EXACT:
        return path == route.path
    key = prefix_key(route.path)
    return path == key or path.startswith(key + "/")


def why_not(route: Route, path: str) -> str:
    """Why `takes` is false, in words."""
    if route.path_type == REGEX:
        return f"the regular expression ^{route.path} does not match {path_text(path)}"
    if route.path_type == EXACT:
        if prefix_key(path) == prefix_key(route.path):
            return f"Exact {route.path} takes the very path only, and {path} differs by the trailing slash"
        if path.lower() == route.path.lower():
            return f"Exact {route.path} differs from {path} in upper and lower case"
        return f"Exact {route.path} is not {path}"
    key = prefix_key(route.path)
    if path.startswith(key):
        element = path[len(key) :].split("/", 1)[0]
        last = key.rpartition("/")[2]
        return f"Prefix {route.path} compares whole elements: {last}{element} is not {last}"
    if path.lower().startswith(key.lower()):
        return f"Prefix {route.path} differs from {path} in upper and lower case"
    return f"Prefix {route.path} is not the beginning of {path}"
