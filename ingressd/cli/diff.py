"""`ingressd diff OLD NEW`: which routes an edit changes, before it goes live.

In: two folders. Out: routes that come, go or change, and faults that appear or disappear. That a route stands on
another line, or in another file, is no change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingressd.cli.console import FOUND, console, print_json
from ingressd.cli.offline import OFFLINE_FLAGS, Output, compile_paths, questions
from ingressd.cli.setting_flags import takes_settings

if TYPE_CHECKING:
    from rich.text import Text

    from ingressd.compile.compilation import Compilation, RouteRow
    from ingressd.errors import Fault

_PLACE_OF = frozenset({"id", "file", "line"})
"""Fields of a row that say where a route stands, not what it does."""
_LINE = re.compile(r":\d+(?::\d+)?")

Row = dict[str, Any]


@takes_settings(OFFLINE_FLAGS)
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Folder or file as it is.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Folder or file as it is going to be.")],
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")] = Output.TEXT,
    **given: Any,
) -> None:
    """Show which routes change from OLD to NEW: + added, - removed, ~ changed, and in what.

    Exit code 0: neither routes nor faults differ. 1: they do. 2: the command could not do its work.
    """
    before = _side(old, given)
    after = _side(new, given)
    changes = compare(before, after)
    if output is Output.JSON:
        print_json(changes.as_dict())
    else:
        screen = console()
        for line in _lines(changes):
            screen.print(line, soft_wrap=True)
    if not changes.empty:
        raise typer.Exit(FOUND)


@dataclass(frozen=True, slots=True)
class Side:
    """What one folder makes."""

    routes: Mapping[tuple[str, ...], Row]
    """By host, path and path type: what tells one route from another for those who send requests."""
    faults: Mapping[tuple[str, ...], list[Fault]]
    """Without their lines, so that a fault which only moved is the same one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """From one side to the other, in the order of the table."""

    added: list[Row]
    removed: list[Row]
    changed: list[tuple[Row, Row, list[str]]]
    """Before, after, and the fields that differ."""
    appeared: list[Fault]
    disappeared: list[Fault]

    @property
    def empty(self) -> bool:
        """Nothing differs."""
        return not (self.added or self.removed or self.changed or self.appeared or self.disappeared)

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {
            "added": self.added,
            "removed": self.removed,
            "changed": [{"old": old, "new": new, "fields": fields} for old, new, fields in self.changed],
            "faults": {
                "appeared": [fault.as_dict() for fault in self.appeared],
                "disappeared": [fault.as_dict() for fault in self.disappeared],
            },
        }


def compare(before: Side, after: Side) -> Changes:
    """What has to be done to `before` to have `after`."""
    changed = []
    for key, row in after.routes.items():
        known = before.routes.get(key)
        if known is not None and (fields := _differing(known, row)):
            changed.append((known, row, fields))
    return Changes(
        added=[row for key, row in after.routes.items() if key not in before.routes],
        removed=[row for key, row in before.routes.items() if key not in after.routes],
        changed=changed,
        appeared=list(_more(before.faults, after.faults)),
        disappeared=list(_more(after.faults, before.faults)),
    )


def _side(path: str, given: Mapping[str, Any]) -> Side:
    compilation = compile_paths([path], given, "diff OLD NEW")
    routes: dict[tuple[str, ...], Row] = {}
    for row in compilation.routes:
        key = (row.route.host, row.route.path, row.route.path_type)
        # The default of the rules for all hosts and the default of all hosts read the same.
        routes[(*key, "last") if key in routes else key] = _row(row, compilation, path)
    return Side(routes, _by_words(compilation.faults, path))


def _row(row: RouteRow, compilation: Compilation, root: str) -> Row:
    """The row of `ingressd routes`, and who is asked for endpoints; words do not depend on where the folder is."""
    asks = questions(compilation, row.route.pool)
    values = row.as_dict() | {"asks": asks}
    values["problem"] = "" if asks else _placeless(values["problem"], root)
    return values


def _differing(old: Row, new: Row) -> list[str]:
    return [name for name in new if name not in _PLACE_OF and old[name] != new[name]]


def _by_words(faults: Iterable[Fault], root: str) -> dict[tuple[str, ...], list[Fault]]:
    found: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        key = (fault.severity, fault.code, fault.kind, fault.namespace, fault.name, _placeless(fault.message, root))
        found.setdefault(key, []).append(fault)
    return found


def _more(
    fewer: Mapping[tuple[str, ...], list[Fault]], faults: Mapping[tuple[str, ...], list[Fault]]
) -> Iterator[Fault]:
    for key, found in faults.items():
        yield from found[len(fewer.get(key, ())) :]


def _placeless(text: str, root: str) -> str:
    """Without the folder and the lines of places that the text names."""
    return _LINE.sub("", re.sub(rf"(?<![\w./-]){re.escape(root.rstrip('/'))}/?(?=[^\s/]*:\d|/)", "", text))


def _lines(changes: Changes) -> Iterator[str | Text]:
    from rich.text import Text

    for row in changes.removed:
        yield Text(f"- {_shown(row)} -> {_backend(row)}  {row['file']}:{row['line']}", "red")
    for row in changes.added:
        yield Text(f"+ {_shown(row)} -> {_backend(row)}  {row['file']}:{row['line']}", "green")
    for old, new, fields in changes.changed:
        what = ", ".join(f"{name} {_value(old[name])} -> {_value(new[name])}" for name in fields)
        yield Text(f"~ {_shown(new)}: {what}  {new['file']}:{new['line']}", "yellow")
    counts = Counter(added=len(changes.added), removed=len(changes.removed), changed=len(changes.changed))
    yield "routes: " + (", ".join(f"{number} {word}" for word, number in counts.items() if number) or "no change")
    for sign, faults in (("-", changes.disappeared), ("+", changes.appeared)):
        yield from (Text(f"{sign} {fault}") for fault in faults)
    if changes.appeared or changes.disappeared:
        yield f"faults: {len(changes.appeared)} appear, {len(changes.disappeared)} disappear"


def _shown(row: Row) -> str:
    return " ".join(filter(None, (row["host"], row["path"], row["path_type"])))


def _backend(row: Row) -> str:
    return f"{row['namespace']}/{row['service']}:{row['port']}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value) if value not in ("", None) else "none"
