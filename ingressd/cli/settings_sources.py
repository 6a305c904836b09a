"""Where settings come from: flag, else variable, else settings file, else default. Each mistake names its origin.

In: what typer parsed, the environment, the name of a settings file. Out: one Settings, or SettingsError with one line
for each mistake. Whether a folder exists or a port is free is not checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ingressd.cli.setting_flags import FLAGS, LIMIT_PREFIX, PATHS, PREFIX, SettingFlag
from ingressd.cli.setting_types import LIMIT_TYPES, TYPES
from ingressd.cli.settings_file import read_settings_file
from ingressd.settings import Limits, Settings

SETTINGS_VARIABLE = PREFIX + "SETTINGS"
"""Names the settings file when there is no --settings."""


class SettingsError(Exception):
    """Wrong settings: `mistakes` has one line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(*mistakes)
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class _Given:
    """A raw value and where it was given: `--http-port`, `INGRESSD_HTTP_PORT` or `site.yaml:3:1: http_port`."""

    value: object
    origin: str


@dataclass(slots=True)
class _Merge:
    settings: dict[str, _Given] = field(default_factory=dict)
    limits: dict[str, _Given] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_settings(
    given: Mapping[str, Any], environ: Mapping[str, str], *, flags: Iterable[SettingFlag] = FLAGS
) -> tuple[Settings, list[str]]:
    """Merge all sources. `given` has what the command line says, by field (None = not said), and `paths`, `limit`,
    `settings`. Returns the settings and notes for the operator. Raises SettingsError, StartupError (no such file).
    """
    merge = _Merge()
    known = {flag.field: flag for flag in (PATHS, *FLAGS)}
    if path := given.get("settings") or environ.get(SETTINGS_VARIABLE):
        _take_file(merge, path, known)
    _take_environment(merge, environ, known)
    _take_command_line(merge, given, (PATHS, *flags))
    values = dict(_checked(merge, merge.settings, TYPES))
    values["limits"] = Limits(**dict(_checked(merge, merge.limits, LIMIT_TYPES)))
    if merge.mistakes:
        raise SettingsError(merge.mistakes)
    return Settings(**values), merge.notes


def _take_file(merge: _Merge, path: str, known: Mapping[str, SettingFlag]) -> None:
    file = read_settings_file(path)
    public = [flag for flag in known.values() if not flag.secret]
    keys = {flag.key: flag.field for flag in public} | {flag.field: flag.field for flag in public}
    for entry in file.settings:
        if name := keys.get(entry.key):
            merge.settings[name] = _Given(entry.value, f"{entry.place}: {entry.key}")
        else:
            merge.mistakes.append(f"{entry.place}: {_unknown('setting', entry.key, [*keys, 'limits'])}")
    for entry in file.limits:
        if entry.key in LIMIT_TYPES:
            merge.limits[entry.key] = _Given(entry.value, f"{entry.place}: {entry.key}")
        else:
            merge.mistakes.append(f"{entry.place}: {_unknown('limit', entry.key, LIMIT_TYPES)}")


def _take_environment(merge: _Merge, environ: Mapping[str, str], known: Mapping[str, SettingFlag]) -> None:
    fields = {flag.variable: flag.field for flag in known.values()}
    limits = {LIMIT_PREFIX + name.upper(): name for name in LIMIT_TYPES}
    for variable, value in environ.items():
        if variable in fields:
            merge.settings[fields[variable]] = _Given(value, variable)
        elif variable in limits:
            merge.limits[limits[variable]] = _Given(value, variable)
        elif variable.startswith(PREFIX) and variable != SETTINGS_VARIABLE:
            # Not a mistake: container links and Kubernetes set INGRESSD_PORT and the like for a service of this name.
            merge.notes.append(_unknown("variable", variable, [*fields, *limits, SETTINGS_VARIABLE]) + "; ignored")


def _take_command_line(merge: _Merge, given: Mapping[str, Any], flags: Iterable[SettingFlag]) -> None:
    for flag in flags:
        value = given.get(flag.field)
        if value is not None and value != []:
            origin = flag.metavar if flag is PATHS else flag.flag
            merge.settings[flag.field] = _Given(value, origin)
    for text in given.get("limit") or ():
        name, _, value = text.partition("=")
        if name in LIMIT_TYPES:
            merge.limits[name] = _Given(value, f"--limit {name}")
        else:
            merge.mistakes.append(f"--limit: {_unknown('limit', name, LIMIT_TYPES)}")


def _checked(merge: _Merge, values: Mapping[str, _Given], types: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, given in values.items():
        try:
            yield name, _adapter(types[name]).validate_python(given.value)
        except ValidationError as error:
            merge.mistakes += [f"{given.origin}: {_words(mistake)}" for mistake in error.errors()]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _words(mistake: Mapping[str, Any]) -> str:
    """pydantic's message; our own validators already name the value."""
    message: str = mistake["msg"]
    if mistake["type"] == "value_error":
        return message.removeprefix("Value error, ")
    return f"{mistake['input']!r}: {message[0].lower()}{message[1:]}"


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"there is no {what} {name}" + (f" (did you mean {near[0]}?)" if near else "")
