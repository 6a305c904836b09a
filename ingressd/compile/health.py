"""Health: the annotations of a Service that say how its endpoints are watched become what a Pool carries.

In: a Service's annotations, the operator's default. Out: a Watch, and what is wrong with them, in words. A value that
means nothing is left out: then the default counts, and for a check that cannot be understood there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ingressd.table.health import PANIC_PERCENT, HealthCheck, OutlierDetection

PREFIX = "ingressd.dev/"
CHECK = f"{PREFIX}health-check"
OUTLIERS = f"{PREFIX}outlier-detection"
SLOW_START = f"{PREFIX}slow-start"
PANIC = f"{PREFIX}panic-threshold"

OFF = "off"

SECONDS_MIN, SECONDS_MAX = 0.01, 86_400.0
INTERVAL_MIN_S = 0.1
COUNT_MAX = 1_000
BODY_MAX = 1_024
_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|)")
_PATH = re.compile(r"/[!-~]*")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_STATUS = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")


class Mistake(NamedTuple):
    """What is wrong with one annotation."""

    annotation: str
    message: str
    invalid: bool = True
    """Otherwise it is right, but of no use."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How the endpoints of a Service are watched."""

    check: HealthCheck | None = None
    outliers: OutlierDetection | None = None
    slow_start_s: float = 0.0
    panic_percent: int = PANIC_PERCENT
    mistakes: tuple[Mistake, ...] = ()


def watch_of(annotations: Mapping[str, str], outliers: OutlierDetection | None) -> Watch:
    """What a Service says. `outliers`: what counts where it says nothing about them."""
    written = [name for name in ANNOTATIONS if name in annotations]
    if not written:
        return Watch(outliers=outliers)
    mistakes: list[Mistake] = []

    def read(name: str, parse: Callable[[str], Any], default: Any) -> Any:
        text = annotations.get(name)
        if text is None:
            return default
        try:
            return parse(text.strip())
        except ValueError as problem:
            shown = text if len(text) <= 80 else f"{text[:80]}..."
            mistakes.append(Mistake(name, f'{name}: "{shown}" must be {problem}; it is left out'))
            return default

    check = read(CHECK, _check, None)
    used = _used(check)
    values: dict[str, Any] = {}
    for field, (name, parse) in _OPTIONS.items():
        if name in used:
            value = read(name, parse, None)
            if value is not None:
                values[field] = value
        elif name in annotations and (check is not None or CHECK not in annotations):
            why = f"a check {check} does not use it" if check else f"there is no {CHECK}"
            mistakes.append(Mistake(name, f"{name} has no effect: {why}", invalid=False))
    return Watch(
        check=replace(check, **values) if check is not None else None,
        outliers=read(OUTLIERS, lambda text: detection_of(text, outliers), outliers),
        slow_start_s=read(SLOW_START, _slow_start, 0.0),
        panic_percent=read(PANIC, _percent, PANIC_PERCENT),
        mistakes=tuple(mistakes),
    )


def detection_of(text: str, default: OutlierDetection | None = None) -> OutlierDetection | None:
    """`off`, or `NAME=VALUE, ...` on top of the default. Raises ValueError, whose text continues `... must be`."""
    if text == OFF:
        return None
    values: dict[str, Any] = {}
    for item in text.split(","):
        name, equals, value = (part.strip() for part in item.partition("="))
        known = _DETECTION_NAMES.get(name)
        if known is None or not equals:
            raise ValueError(f'"off" or a list of NAME=VALUE with the names {", ".join(_DETECTION_NAMES)}')
        field, parse = known
        try:
            values[field] = parse(value)
        except ValueError as problem:
            raise ValueError(f"a list whose {name} is {problem}") from None
    detection = replace(default or OutlierDetection(), **values)
    if detection.max_ejection_s < detection.base_ejection_s:
        detection = replace(detection, max_ejection_s=detection.base_ejection_s)
    return detection if detection else None


def _check(text: str) -> HealthCheck | None:
    if text == OFF:
        return None
    kind, _, path = text.partition(":")
    if kind in ("tcp", "tls") and not path and text == kind:
        return HealthCheck(kind)
    path = path or "/"
    if kind not in ("http", "https") or not _PATH.fullmatch(path):
        raise ValueError('"http:/PATH", "https:/PATH", "tcp", "tls" or "off"')
    return HealthCheck(kind, path.partition("#")[0])


def _used(check: HealthCheck | None) -> tuple[str, ...]:
    """The options that a check can have."""
    if check is None:
        return ()
    names = [name for name, _ in _OPTIONS.values()]
    if check.path:
        return tuple(names)
    return tuple(name for name in names if name not in _HTTP_ONLY and (check.kind == "tls" or name != _HOST_OPTION))


def seconds(text: str) -> float:
    """`30`, `30s`, `500ms`, `2m`. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not SECONDS_MIN <= value <= SECONDS_MAX:
        raise ValueError("a time such as 30, 30s, 500ms or 2m, up to a day")
    return value


def _interval(text: str) -> float:
    value = seconds(text)
    if value < INTERVAL_MIN_S:
        raise ValueError(f"{INTERVAL_MIN_S:g} s or more")
    return value


def _slow_start(text: str) -> float:
    return 0.0 if text in (OFF, "0", "0s") else seconds(text)


def _number(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        raise ValueError(f"a number from {least} to {most}")
    return int(text)


def _count(text: str) -> int:
    return _number(text, 1, COUNT_MAX)


def _count_or_none(text: str) -> int:
    return _number(text, 0, COUNT_MAX)


def _percent(text: str) -> int:
    return _number(text.removesuffix("%"), 0, 100)


def _port(text: str) -> int:
    return _number(text, 1, 65_535)


def _statuses(text: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for item in text.split(","):
        found = _STATUS.fullmatch(item.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise ValueError("a list of statuses and ranges, such as 200-299,401")
        ranges.append((first, last))
    return tuple(ranges)


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("the name of a host, such as app.example.com")
    return text


def _body(text: str) -> str:
    if not text or len(text) > BODY_MAX:
        raise ValueError(f"the text that an answer has to contain, of 1 to {BODY_MAX} characters")
    return text


def _switch(text: str) -> bool:
    if text not in ("on", OFF):
        raise ValueError("on or off")
    return text == "on"


_HOST_OPTION = f"{PREFIX}health-host"
_OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "interval_s": (f"{PREFIX}health-interval", _interval),
    "timeout_s": (f"{PREFIX}health-timeout", seconds),
    "rise": (f"{PREFIX}health-rise", _count),
    "fall": (f"{PREFIX}health-fall", _count),
    "port": (f"{PREFIX}health-port", _port),
    "host": (_HOST_OPTION, _host),
    "statuses": (f"{PREFIX}health-status", _statuses),
    "body": (f"{PREFIX}health-body", _body),
}
"""Field of HealthCheck -> the annotation that gives it, and how that is read."""
_HTTP_ONLY = frozenset({f"{PREFIX}health-status", f"{PREFIX}health-body"})

_DETECTION: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "consecutive_failures": ("consecutive-failures", _count_or_none),
    "consecutive_gateway_failures": ("consecutive-gateway-failures", _count_or_none),
    "consecutive_5xx": ("consecutive-5xx", _count_or_none),
    "success_rate": ("success-rate", _switch),
    "base_ejection_s": ("base-ejection", seconds),
    "max_ejection_s": ("max-ejection", seconds),
    "max_ejection_percent": ("max-ejection-percent", _percent),
}
"""Field of OutlierDetection -> its name in ingressd.dev/outlier-detection, and how it is read."""
_DETECTION_NAMES = {name: (field, parse) for field, (name, parse) in _DETECTION.items()}

ANNOTATIONS = (CHECK, *(name for name, _ in _OPTIONS.values()), OUTLIERS, SLOW_START, PANIC)
"""All that a Service may say about how it is watched."""
