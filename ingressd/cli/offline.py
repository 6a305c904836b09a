"""Manifests compiled once, without a running proxy: what check, routes, explain and diff look at.

In: folders and the settings. Out: a Compilation, or one line and exit code 2. No name server is asked: what `ingressd
run` would ask is in the compilation's queries. The addresses of the static provider are read, since they stand there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ingressd.cli.console import USAGE, complain, fail
from ingressd.cli.setting_flags import FLAGS

if TYPE_CHECKING:
    from ingressd.compile.compilation import Compilation
    from ingressd.compile.options import CompileOptions
    from ingressd.discovery.base import Answer, Query
    from ingressd.model.resource_set import ResourceSet
    from ingressd.settings import Settings

OFFLINE_FLAGS = tuple(flag for flag in FLAGS if flag.compiles)
"""The settings that change what is compiled."""


class Output(StrEnum):
    """What a command prints."""

    TEXT = "text"
    JSON = "json"


def compile_paths(paths: Sequence[str] | None, given: Mapping[str, Any], command: str) -> Compilation:
    """Compile `paths`, or those of INGRESSD_PATHS and the settings file. `command` is an example for who named none."""
    return _compile(_readable(paths, given, command))


def read_paths(
    paths: Sequence[str] | None, given: Mapping[str, Any], command: str
) -> tuple[ResourceSet, CompileOptions]:
    """What `compile_paths` would compile, and by which options."""
    return _read(_readable(paths, given, command))


def _readable(paths: Sequence[str] | None, given: Mapping[str, Any], command: str) -> Settings:
    """The settings, whose paths are there."""
    settings = _settings(paths, given)
    if not settings.paths:
        fail(f"no manifests: name a folder, as in `ingressd {command} manifests/` (or set INGRESSD_PATHS)")
    for path in settings.paths:
        if not Path(path).exists():
            fail(f"{path}: no such file or folder")
    return settings


def questions(compilation: Compilation, pool: str) -> list[str]:
    """What a running proxy asks, and whom, for the endpoints of a pool that are not written down: `dns web:8000`."""
    asked = compilation.asked.get(pool, ())
    return [f"{query.provider} {query.target}:{query.port}" for query in asked if query.provider != "static"]


def _settings(paths: Sequence[str] | None, given: Mapping[str, Any]) -> Settings:
    from ingressd.cli.settings_sources import SettingsError, read_settings

    try:
        settings, notes = read_settings({"paths": paths, **given}, os.environ, flags=OFFLINE_FLAGS)
    except SettingsError as error:
        for mistake in error.mistakes:
            complain(mistake)
        raise typer.Exit(USAGE) from None
    for note in notes:
        complain(note)
    return settings


def _compile(settings: Settings) -> Compilation:
    import asyncio

    from ingressd.compile.compiler import compile_snapshot

    resources, options = _read(settings)
    compilation = compile_snapshot(resources, {}, options)
    answers = asyncio.run(_static_answers(compilation.queries, settings))
    return compile_snapshot(resources, answers, options) if answers else compilation


def _read(settings: Settings) -> tuple[ResourceSet, CompileOptions]:
    from ingressd.compile.options import CompileOptions
    from ingressd.errors import StartupError
    from ingressd.filters import plugins
    from ingressd.process.certificates import CertificateReader
    from ingressd.settings import OFF
    from ingressd.sources.files import FileSource

    try:
        plugins.load(settings.plugins)
    except StartupError as problem:
        fail(str(problem))
    now = datetime.now(UTC)
    https_port = None if settings.https_port == OFF else settings.https_port
    options = CompileOptions.from_settings(settings, https_port, now, CertificateReader(settings).read(now))
    return FileSource(settings.paths, events=False).load(), options


async def _static_answers(queries: Iterable[Query], settings: Settings) -> dict[Query, Answer]:
    from ingressd.discovery.static import StaticDiscovery

    provider = StaticDiscovery(settings)
    return {query: await anext(provider.watch(query)) for query in queries if query.provider == "static"}
