"""The discovery providers by name: the built-in ones, and those of other installed packages.

In: the Settings, the entry points of the group `ingressd.discovery`. Out: one provider a name. A plug-in that does not
work is logged and left out: it never stops the program.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from ingressd.discovery.base import Discovery, Factory
from ingressd.discovery.dns import DnsDiscovery
from ingressd.discovery.static import StaticDiscovery
from ingressd.settings import Settings

GROUP = "ingressd.discovery"

BUILT_IN: dict[str, Factory] = {
    "dns": DnsDiscovery,
    "static": StaticDiscovery,
}
"""Also declared as entry points of ingressd itself, but they work without any installed distribution."""

_log = logging.getLogger(__name__)


def load(settings: Settings) -> Mapping[str, Discovery]:
    """Make every provider that can be made."""
    providers = {name: factory(settings) for name, factory in BUILT_IN.items()}
    # Sorted: which of two plug-ins of the same name wins must not hang on the order of folders.
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _package(entry), entry.value)):
        if entry.name in BUILT_IN:
            if not _is_own(entry):
                _log.error(
                    "discovery %s of the package %s is left out: that name is built in", entry.name, _package(entry)
                )
        elif entry.name in providers:
            _log.error("discovery %s of the package %s is left out: another has that name", entry.name, _package(entry))
        elif (provider := _make(entry, settings)) is not None:
            providers[entry.name] = provider
            _log.info("discovery %s comes from the package %s", entry.name, _package(entry))
    return providers


def _make(entry: EntryPoint, settings: Settings) -> Discovery | None:
    try:
        factory: Factory = entry.load()
        provider = factory(settings)
        if not callable(getattr(provider, "watch", None)):
            raise TypeError(f"{entry.value} makes a {type(provider).__name__}, which has no method watch(query)")
    except (Exception, SystemExit) as error:  # a module may do anything while it is imported
        name, package = entry.name, _package(entry)
        _log.error(
            "discovery %s of the package %s is left out: %s: %s",
            name,
            package,
            type(error).__name__,
            error,
            exc_info=True,
        )
        return None
    return provider


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "?"


def _is_own(entry: EntryPoint) -> bool:
    factory = BUILT_IN[entry.name]
    return entry.value == f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', '')}"
