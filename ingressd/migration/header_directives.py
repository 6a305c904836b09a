"""Directives of nginx about header fields.

In: the words of one directive. Out: a Draft. Raises Cannot or Already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ingressd.migration.proposals import Already, Cannot, Draft

Arguments = tuple[str, ...]

ALL_ANSWERS = "nginx adds it to answers with 200, 201, 204, 206 and 3xx only, ingressd to every one"
"""Of add_header without `always`."""

_CORS = {
    "access-control-allow-origin": "cors-allow-origin",
    "access-control-allow-methods": "cors-allow-methods",
    "access-control-allow-headers": "cors-allow-headers",
    "access-control-allow-credentials": "cors-allow-credentials",
    "access-control-expose-headers": "cors-expose-headers",
    "access-control-max-age": "cors-max-age",
}
_SENT = {
    "x-real-ip": ("$remote_addr", "$the_real_ip"),
    "x-forwarded-for": ("$remote_addr", "$proxy_add_x_forwarded_for", "$the_real_ip", "$full_x_forwarded_for"),
    "x-forwarded-host": ("$host", "$http_host", "$best_http_host"),
    "x-forwarded-port": ("$server_port", "$pass_port"),
    "x-forwarded-proto": ("$scheme", "$pass_access_scheme"),
    "x-forwarded-scheme": ("$scheme", "$pass_access_scheme"),
    "x-scheme": ("$scheme", "$pass_access_scheme"),
    "x-request-id": ("$req_id", "$request_id"),
    "x-original-uri": (),
}
"""What endpoints get anyway -> with which values."""
_MAX_AGE = re.compile(r"max-age=\"?(\d+)\"?", re.IGNORECASE)
_LONG_S = 315_360_000
"""What `expires max` means."""


def add_header(arguments: Arguments) -> Draft:
    """`add_header NAME VALUE [always]`."""
    if len(arguments) < 2:
        raise Cannot("a name and a value are needed")
    name, value, *rest = (argument.strip() for argument in arguments)
    lower = name.lower()
    if lower in _CORS:
        return _cors(lower, value)
    if lower == "strict-transport-security":
        return _hsts(value)
    return Draft({"response-headers-add": f"{name}: {value}"}, "" if rest == ["always"] else ALL_ANSWERS)


def more_set_headers(arguments: Arguments) -> Draft:
    """`more_set_headers "NAME: VALUE"...`."""
    return _set_or_removed(arguments, "response-headers")


def more_set_input_headers(arguments: Arguments) -> Draft:
    """`more_set_input_headers "NAME: VALUE"...`."""
    return _set_or_removed(arguments, "request-headers")


def more_clear_headers(arguments: Arguments) -> Draft:
    """`more_clear_headers NAME...`."""
    return _removed(arguments, "response-headers-remove")


def more_clear_input_headers(arguments: Arguments) -> Draft:
    """`more_clear_input_headers NAME...`."""
    return _removed(arguments, "request-headers-remove")


def proxy_hide_header(arguments: Arguments) -> Draft:
    """`proxy_hide_header NAME`."""
    return _removed(arguments, "response-headers-remove")


def proxy_set_header(arguments: Arguments) -> Draft:
    """`proxy_set_header NAME VALUE`."""
    if len(arguments) != 2:
        raise Cannot("a name and a value are needed")
    name, value = (argument.strip() for argument in arguments)
    lower = name.lower()
    if lower == "host":
        return Draft({"upstream-vhost": value})
    if lower in ("connection", "upgrade"):
        raise Already("connections to endpoints are kept, and an upgrade to WebSocket is passed on")
    if value in _SENT.get(lower, ()):
        raise Already(f"endpoints get {name} anyway")
    if not value:
        return Draft({"request-headers-remove": name})
    return Draft({"request-headers-set": f"{name}: {value}"})


def expires(arguments: Arguments) -> Draft:
    """`expires TIME`."""
    word = arguments[-1] if arguments else ""
    if word == "off":
        raise Already("nothing is added to Cache-Control")
    if len(arguments) != 1 or word.startswith(("@", "$")):
        raise Cannot("a time of the day, or one that depends on the file, has no counterpart: let the app say it")
    if word == "epoch" or word.startswith("-"):
        return Draft({"response-headers-set": "Cache-Control: no-cache"})
    age_s = _LONG_S if word == "max" else seconds(word)
    return Draft({"response-headers-set": f"Cache-Control: max-age={age_s}"}, ALL_ANSWERS)


def seconds(text: str) -> int:
    """A time as nginx writes it, in whole seconds. Raises Cannot."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_592_000, "y": 31_536_000, "": 1}
    parts = re.findall(r"(\d{1,9})(ms|[smhdwMy]|)\s*", text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text.replace(" ", ""):
        raise Cannot(f'"{text}" is no time')
    whole = sum(int(number) * units[unit] for number, unit in parts)
    return int(whole) or int(whole > 0)


def _cors(lower: str, value: str) -> Draft:
    remark = "with enable-cors, OPTIONS is answered by the proxy; write the other cors- annotations, too"
    if lower == "access-control-allow-origin" and value.startswith("$"):
        return Draft({"enable-cors": "true"}, f"{remark}: name the origins in cors-allow-origin")
    if lower == "access-control-allow-credentials":
        value = value.lower()
    return Draft({"enable-cors": "true", _CORS[lower]: value}, remark)


def _hsts(value: str) -> Draft:
    found = _MAX_AGE.search(value)
    if found is None:
        raise Cannot("its value has no max-age")
    draft = {"hsts": "true", "hsts-max-age": found[1]}
    if "includesubdomains" in value.lower():
        draft["hsts-include-subdomains"] = "true"
    if "preload" in value.lower():
        draft["hsts-preload"] = "true"
    return Draft(draft)


def _set_or_removed(arguments: Arguments, what: str) -> Draft:
    if any(argument.startswith("-") for argument in arguments):
        raise Cannot("it holds for some statuses or types only: let the app do it, or a plug-in (ingressd.dev/filters)")
    if len(arguments) != 1:
        raise Cannot("write one field a directive")
    name, _, value = arguments[0].partition(":")
    if not value.strip():
        return Draft({f"{what}-remove": name.strip()})
    return Draft({f"{what}-set": f"{name.strip()}: {value.strip()}"})


def _removed(arguments: Arguments, name: str) -> Draft:
    if not arguments or any(argument.startswith("-") or "*" in argument for argument in arguments):
        raise Cannot("names with `*`, and those for some statuses only, have no counterpart: write the names out")
    return Draft({name: ", ".join(argument.rstrip(":") for argument in arguments)})


TABLE: Mapping[str, Callable[[Arguments], Draft]] = {
    "add_header": add_header,
    "expires": expires,
    "more_clear_headers": more_clear_headers,
    "more_clear_input_headers": more_clear_input_headers,
    "more_set_headers": more_set_headers,
    "more_set_input_headers": more_set_input_headers,
    "proxy_hide_header": proxy_hide_header,
    "proxy_set_header": proxy_set_header,
}
