"""A file's text becomes documents; each is read once, however often the file around it changes.

In: a file's text, and its documents as they were before. Out: Documents. A document that did not change is the same
object as before; one that only moved keeps its resources' objects and gets them a new origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from ingressd.errors import Fault, Severity
from ingressd.model.kinds import Kind
from ingressd.model.origin import NO_MARKS, Origin, Position, marks
from ingressd.model.reading import Reading, read
from ingressd.model.resource import Key, Resource, namespace_of
from ingressd.model.shape import Loc
from ingressd.sources.json_values import read_json
from ingressd.sources.yaml_values import Refused, read_yaml

DOCUMENT_BYTES = 1024 * 1024
"""Kubernetes takes 1.5 MiB an object (etcd's limit for a request)."""

_separator = re.compile(r"(---|\.\.\.)(?=[ \t\n]|\Z)[ \t]*(#[^\n]*)?(\n|\Z)?").match
_before_separator = re.compile(r"\n(?=---|\.\.\.)")
_only_directives = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n|%[^\n]*\n)*").fullmatch
_kind = re.compile(r"^kind:[ \t]+[\"']?([A-Za-z]+)", re.MULTILINE)
_metadata = re.compile(r"^metadata:[ \t]*\n((?:[ \t]+[^\n]*\n?|[ \t]*\n|#[^\n]*\n)*)", re.MULTILINE)
_field = re.compile(r"^[ \t]+(name|namespace):[ \t]+[\"']?([-a-z0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One document of a file, read."""

    origin: Origin
    reading: Reading
    unread: bool = False
    """Its text could not be read at all: what it holds is a guess."""
    collides: int = 0
    """Of one that is unread: the line in it that its fault names, too; 0 = there is none."""
    guess: Key | None = None
    """Of one that is unread: the object that its text seems to be."""
    kept: tuple[Resource[Kind], ...] = ()
    """Last good: objects as they were before this document broke."""
    faults: tuple[Fault, ...] = field(default=())
    """Those of the reading, with what is kept."""

    @property
    def served(self) -> tuple[Resource[Kind], ...]:
        """What the document stands for now."""
        return self.reading.resources + self.kept


def read_documents(file: str, text: str, known: Iterable[Document] = ()) -> tuple[Document, ...]:
    """Read the documents of `text`; those among `known`, the file's documents before, are not read again."""
    before: dict[str, list[Document]] = {}
    for document in known:
        before.setdefault(document.origin.text, []).append(document)
    json = file.lower().endswith(".json")
    documents = []
    for line, part in [(1, text)] if json else split(text):
        if same := before.get(part):
            documents.append(_moved(same.pop(0), line))
        else:
            documents.append(_read(Origin(file, line, part), json=json))
    return tuple(documents)


def split(text: str) -> Iterator[tuple[int, str]]:
    """First line and text of each document that is not empty.

    A line `---` without content is not part of either document: a document does not change when one is put before it.
    """
    start, line = 0, 1
    for end in chain(_separators(text), (None,)):
        part = text[start : end.start() if end else len(text)]
        directives = end is not None and end[1] == "---" and _only_directives(part)
        if part.strip() and not directives:
            yield line, part
        line += part.count("\n")
        if end is None:
            return
        start = end.start()
        if end[3] is not None:
            start = end.end()
            line += 1 if end[3] else 0


def _separators(text: str) -> Iterator[re.Match[str]]:
    # A pattern for whole lines would stop at each of 200,000; this one finds 10,000 among them in a fifth of the time.
    # One after the other: 16 MiB of nothing but separators would be 3,000,000 of them, and 700 MiB.
    for start in chain((0,), (newline.end() for newline in _before_separator.finditer(text))):
        match = _separator(text, start)
        if match is not None:
            yield match


def broken(file: str, refused: Refused, line: int = 1) -> Fault:
    """The fault of a text, whose first line is `line` of the file, that cannot be read."""
    message = refused.message
    if refused.earlier:
        message += _first_time(line + refused.earlier - 1)
    at = line + refused.line - 1
    return Fault(Severity.ERROR, refused.code, "", "", "", file, at, refused.column, message, refused.hint)


def _first_time(line: int) -> str:
    return f", the first time in line {line}"


def _read(origin: Origin, *, json: bool) -> Document:
    known: dict[Loc, Position] = {}
    try:
        size = len(origin.text.encode())
        if size > DOCUMENT_BYTES:
            message = f"a document of {size:,} bytes; at most 1 MiB is read"
            raise Refused("document_too_large", message, "split it with `---`, or into several files", 1, 1)
        value = (
            read_json(origin.text)
            if json
            else read_yaml(origin.text, lambda root: known.update(marks(root, origin.text)))
        )
    except Refused as refused:
        reading = Reading(faults=(broken(origin.file, refused, origin.line),))
        guess = _guess(origin.text)
        return Document(origin, reading, unread=True, collides=refused.earlier, guess=guess, faults=reading.faults)
    origin = Origin(origin.file, origin.line, origin.text, known or NO_MARKS)
    reading = read(value, origin)
    return Document(origin, reading, faults=reading.faults)


def _guess(text: str) -> Key | None:
    """The object that a text which is not YAML seems to be, by the lines that name it."""
    kind, metadata = _kind.search(text), _metadata.search(text)
    if kind is None or metadata is None:
        return None
    fields: dict[str, str] = {}
    for match in _field.finditer(metadata[1]):
        fields.setdefault(match[1], match[2])
    if "name" not in fields:
        return None
    return Key(kind[1], namespace_of(kind[1], fields.get("namespace")), fields["name"])


def _moved(document: Document, line: int) -> Document:
    """The same document at another line."""
    by = line - document.origin.line
    if not by:
        return document

    def moved(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        named, now = (_first_time(first + document.collides - 1) for first in (document.origin.line, line))
        return tuple(
            replace(
                fault,
                line=fault.line + by,
                message=fault.message.replace(named, now) if document.collides else fault.message,
            )
            for fault in faults
        )

    origin = replace(document.origin, line=line)
    reading = Reading(
        tuple(Resource(resource.object, origin, resource.inside) for resource in document.reading.resources),
        document.reading.broken,
        moved(document.reading.faults),
    )
    return replace(document, origin=origin, reading=reading, faults=moved(document.faults))
