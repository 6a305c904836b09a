"""Last good: what a document that broke is served as, until it is whole again.

In: a file's documents before and after an edit. Out: the documents after it; those that broke keep the resources they
stood for, and their faults say so. Nothing here knows files.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice, takewhile

from ingressd.errors import Fault, Severity
from ingressd.model.kinds import Kind
from ingressd.model.resource import Key, Resource
from ingressd.sources.documents import Document

NEAR = 16
"""How many of the documents that are missing a nameless one is compared to: 20,000 may be broken at once."""


def keep_last_good(before: Sequence[Document], after: Sequence[Document]) -> tuple[Document, ...]:
    """Give each broken document of `after` the resources that it stood for in `before`."""
    if not any(_is_broken(document) for document in after):
        return tuple(after)
    return tuple(_Allotment(before, after).allot())


def _is_broken(document: Document) -> bool:
    return document.unread or bool(document.reading.broken)


class _Allotment:
    """Who gets which of the resources that are missing after the edit: first by name, then by place."""

    def __init__(self, before: Sequence[Document], after: Sequence[Document]) -> None:
        self._before = before
        self._after = after
        self._known = {document.origin.text for document in before}
        valid = {resource.key for document in after for resource in document.reading.resources}
        self._kept = [[each for each in document.kept if each.key not in valid] for document in after]
        gone = valid.union(resource.key for kept in self._kept for resource in kept)
        self._missing = [[resource for resource in document.served if resource.key not in gone] for document in before]
        """By the index of the document they were in."""
        self._places = {each.key: place for place, missing in enumerate(self._missing) for each in missing}
        self._anchors = self._anchored()
        """For each document after the edit, the index of the one that it was; None = nothing tells."""

    def allot(self) -> list[Document]:
        new = dict.fromkeys(index for index, document in enumerate(self._after) if self._has_just_broken(document))
        for index in new:
            self._by_name(index)
        low, following = -1, self._following()
        for index, document in enumerate(self._after):
            if index in new and _nameless(document) and not self._kept[index]:
                self._by_place(index, low, following[index])
            low = _or(self._anchors[index], low)
        last = len(self._after) - 1
        if last in new and _looks_cut(self._after[last]):
            self._rest(last)
        return [_with(document, tuple(kept)) for document, kept in zip(self._after, self._kept, strict=True)]

    def _has_just_broken(self, document: Document) -> bool:
        """One that was there before has what it can have."""
        return _is_broken(document) and document.origin.text not in self._known

    def _anchored(self) -> list[int | None]:
        by_text = {document.origin.text: index for index, document in enumerate(self._before)}
        by_key = {resource.key: index for index, document in enumerate(self._before) for resource in document.served}
        anchors: list[int | None] = []
        for document in self._after:
            anchor = by_text.get(document.origin.text)
            if anchor is None:
                anchor = next((by_key[each.key] for each in document.reading.resources if each.key in by_key), None)
            anchors.append(anchor)
        return anchors

    def _take(self, index: int, place: int, keys: Collection[Key] | None = None) -> None:
        """The document `index` keeps what is missing of the document that was at `place`."""
        taken = [each for each in self._missing[place] if keys is None or each.key in keys]
        if taken:
            self._kept[index] += taken
            self._missing[place] = [each for each in self._missing[place] if each not in taken]
            self._anchors[index] = place

    def _by_name(self, index: int) -> None:
        document = self._after[index]
        keys = {document.guess} if document.guess is not None else set(document.reading.broken)
        for place in sorted({self._places[key] for key in keys if key in self._places}):
            self._take(index, place, keys)

    def _by_place(self, index: int, low: int, high: int) -> None:
        """It is one of those that stood between the neighbours it has now: the one it resembles most."""
        between = range(low + 1, high) if low < high else range(len(self._before))
        places = list(islice((place for place in between if self._missing[place]), NEAR))
        if places:
            text = self._after[index].origin.text
            self._take(index, max(places, key=lambda place: _alike(self._before[place].origin.text, text)))

    def _rest(self, last: int) -> None:
        """The file ends in the middle of a document: someone is still writing it, and what followed will follow."""
        anchors = [anchor for anchor in self._anchors if anchor is not None]
        for place in range(anchors[-1] if anchors else 0, len(self._before)):
            self._take(last, place)

    def _following(self) -> list[int]:
        """For each document after the edit, where the next one was whose place is known."""
        found: list[int] = []
        high = len(self._before)
        for anchor in reversed(self._anchors):
            found.append(high)
            high = _or(anchor, high)
        return found[::-1]


def _or(anchor: int | None, other: int) -> int:
    return other if anchor is None else anchor


def _nameless(document: Document) -> bool:
    return document.unread or any(not key.kind or not key.name for key in document.reading.broken)


def _looks_cut(document: Document) -> bool:
    return document.unread or not document.origin.text.endswith("\n")


def _alike(one: str, other: str) -> int:
    """How much of the beginning they share: the name is near the top of a document."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _with(document: Document, kept: tuple[Resource[Kind], ...]) -> Document:
    """The document with what it keeps; the same object when that is what it has."""
    if kept == document.kept:
        return document
    keys = {resource.key for resource in kept}
    faults = tuple(_noted(fault, document, keys) for fault in document.reading.faults)
    return replace(document, kept=kept, faults=faults)


def _noted(fault: Fault, document: Document, keys: Collection[Key]) -> Fault:
    """The fault, saying what is served in spite of it."""
    own = Key(fault.kind, fault.namespace, fault.name)
    if fault.severity != Severity.ERROR or not keys:
        return fault
    if len(keys) > 1 and (document.unread or own not in keys):
        return replace(fault, message=f"{fault.message}; {len(keys)} objects are served as they were before")
    if not document.unread and own not in keys and own.name:
        return fault
    (kind, namespace, name) = own if own in keys else next(iter(keys))
    return replace(
        fault, kind=kind, namespace=namespace, name=name, message=f"{fault.message}; it is served as it was before"
    )
