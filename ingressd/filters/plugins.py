"""filters: "name(option=value)": behaviours that the operator has installed, or given with --plugin.

In: entry points of the group `ingressd.filters`, and files. Each gives factories: called with the options of an
Ingress, as text, they make an object with `on_request`, `on_response` or both (base.py). Out: filters of routes. What a
plug-in raises costs its request 500 and nobody else anything; it is logged once. Manifests name plug-ins, they never
bring any.
"""

from __future__ import annotations

import inspect
import logging
import re
import runpy
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, ClassVar

from ingressd.errors import LocalReply, Reason, StartupError
from ingressd.filters.base import Annotation, Detour, Filter, FilterSpec, Request, Response, Site, Unusable, Verdict

GROUP = "ingressd.filters"
NAME = "filters"
FACTORIES = "FILTERS"
"""What a file given with --plugin has to define: names and factories."""

Factory = Callable[..., Any]
Call = tuple[str, tuple[tuple[str, str], ...]]
"""Name and options."""

_call = re.compile(r"\s*+([A-Za-z][A-Za-z0-9_.-]*+)\s*+(?:\(([^()]*+)\)\s*+)?(?:[,;]|$)")
_option = re.compile(r"\s*+([A-Za-z_][A-Za-z0-9_]*+)\s*+=\s*+(?:'([^']*+)'\s*+|\"([^\"]*+)\"\s*+|([^,'\"]*+))(?:,|$)")
_log = logging.getLogger("ingressd.plugins")
_factories: dict[str, Factory] = {}
"""Of the files."""
_reported: set[tuple[str, str]] = set()


def load(files: Iterable[str]) -> None:
    """Make the plug-ins of this process known: those that are installed when the first route has plug-ins.

    Raises StartupError for a file that gives none.
    """
    _factories.clear()
    installed.cache_clear()
    _instance.cache_clear()
    for file in files:
        try:
            found = runpy.run_path(str(Path(file)), run_name=f"ingressd.plugin.{Path(file).stem}").get(FACTORIES)
        except (Exception, SystemExit) as problem:
            raise StartupError(f"--plugin {file}: {type(problem).__name__}: {problem}") from problem
        if not isinstance(found, Mapping) or not found or not all(map(callable, found.values())):
            raise StartupError(f"--plugin {file}: it has to define {FACTORIES} = {{NAME: factory}}")
        _factories.update(found)


@cache
def installed() -> Mapping[str, Factory]:
    """Those of other packages."""
    from importlib.metadata import entry_points  # a twentieth of a worker's start, and most workers need none

    found: dict[str, Factory] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            found[entry.name] = entry.load()
        except (Exception, SystemExit):  # a module may do anything while it is imported
            _log.exception("the filter %s (%s) is left out", entry.name, entry.value)
    return found


def _known() -> dict[str, Factory]:
    return {**installed(), **_factories}


@lru_cache(maxsize=4096)
def _instance(call: Call) -> Any:
    """The object that a factory makes of these options; one a process."""
    name, options = call
    return _known()[name](**dict(options))


@dataclass(frozen=True, slots=True)
class Plugins:
    """The plug-ins of one Ingress, in the order in which it names them."""

    asks: ClassVar[bool] = True

    calls: tuple[Call, ...]

    def __post_init__(self) -> None:
        """Import what is installed when the route comes, and not while its first request waits."""
        installed()

    def __reduce__(self) -> tuple[type[Plugins], tuple[tuple[Call, ...]]]:
        """It is made anew in the process that it goes to."""
        return Plugins, (self.calls,)

    def __str__(self) -> str:
        shown = (f"{name}({', '.join(f'{key}={value}' for key, value in options)})" for name, options in self.calls)
        return f"plug-ins: {', '.join(shown)}"

    @property
    def constant(self) -> bool:
        """See ResponseFilter."""
        made = map(_instance, self.calls)
        return all(getattr(each, "constant", False) for each in made if hasattr(each, "on_response"))

    def on_request(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """See RequestFilter."""
        for number, call in enumerate(self.calls):
            try:
                on_request = getattr(_instance(call), "on_request", None)
                verdict = None if on_request is None else on_request(request)
                if inspect.isawaitable(verdict):
                    return self._later(request, number, verdict)
                if verdict is not None and not isinstance(verdict, LocalReply):
                    raise TypeError(f"on_request returned {verdict!r}, and not a LocalReply or None")
            except LocalReply as reply:
                return reply
            except Exception as problem:
                return _failed(call, problem)
            if verdict is not None:
                return verdict
        return None

    async def _later(self, request: Request, number: int, waited: Awaitable[Verdict]) -> Verdict:
        try:
            verdict = await waited
        except LocalReply as reply:
            return reply
        except Exception as problem:
            return _failed(self.calls[number], problem)
        if verdict is not None:
            return verdict
        rest = Plugins(self.calls[number + 1 :]).on_request(request)
        return rest if rest is None or isinstance(rest, LocalReply) else await rest

    def on_response(self, request: Request, response: Response) -> LocalReply | Detour | None:
        """See ResponseFilter."""
        for call in self.calls:
            try:
                on_response = getattr(_instance(call), "on_response", None)
                outcome = None if on_response is None else on_response(request, response)
                if outcome is not None and not isinstance(outcome, LocalReply | Detour):
                    raise TypeError(f"on_response returned {outcome!r}, and not a LocalReply, a Detour or None")
            except LocalReply as reply:
                return reply
            except Exception as problem:
                return _failed(call, problem)
            if outcome is not None:
                return outcome
        return None


def _failed(call: Call, problem: Exception) -> LocalReply:
    """500; the first failure of a kind is told with its traceback."""
    name = call[0]
    kind = (name, f"{type(problem).__name__} {problem.__traceback__ and _place(problem)}")
    if kind not in _reported:
        _reported.add(kind)
        _log.error("the plug-in %s failed: 500 for this request", name, exc_info=problem)
    return LocalReply(500, Reason.PLUGIN_ERROR, "a plug-in of this route failed")


def _place(problem: Exception) -> str:
    """Where it was raised."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def calls(text: str) -> tuple[Call, ...]:
    """`name, other(option=value, more='two words')`. Raises ValueError."""
    found: list[Call] = []
    end = 0
    while end < len(text.rstrip()):
        match = _call.match(text, end)
        if match is None:
            raise ValueError('names of plug-ins with their options, as in "name(option=value), other"')
        found.append((match[1], _options(match[2] or "")))
        end = match.end()
    if not found:
        raise ValueError('names of plug-ins with their options, as in "name(option=value), other"')
    return tuple(found)


def _options(text: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    end = 0
    while end < len(text.rstrip()):
        match = _option.match(text, end)
        if match is None:
            raise ValueError(f"options as in \"name(option=value, other='two words')\": not {text[end:].strip()}")
        found.append((match[1], next((part for part in match.groups()[1:] if part is not None), "")))
        end = match.end()
    return tuple(found)


class _Spec(FilterSpec):
    name = "plugins"
    annotations = (
        Annotation(
            NAME,
            calls,
            "plug-ins that the operator has installed, or given with --plugin, in this order",
            guard=True,
            native=True,
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        for call in values[NAME]:
            name = call[0]
            if name not in (factories := _known()):
                known = f"there are {', '.join(sorted(factories))}" if factories else "there are none"
                raise Unusable(NAME, f"there is no plug-in {name}", f"install it, or run with --plugin FILE; {known}")
            try:
                made = _instance(call)
            except Exception as problem:
                raise Unusable(NAME, f"the plug-in {name} does not take these options: {problem}") from None
            if not (hasattr(made, "on_request") or hasattr(made, "on_response")):
                raise Unusable(NAME, f"the plug-in {name} makes an object without on_request and on_response")
        return Plugins(values[NAME])


SPEC = _Spec()
