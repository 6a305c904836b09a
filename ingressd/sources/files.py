"""Files as a source of resources.

In: paths of files and folders. Out: ResourceSets. A file is read when its signature changed, and only its content
decides; a document is read when it changed; what broke is served as it was before (last_good.py).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b

from ingressd.collector import paused
from ingressd.errors import Fault, Severity
from ingressd.model.kinds import Kind
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.sources.contents import Content, Signature, Unreadable, read_content, text_of
from ingressd.sources.documents import Document, broken, read_documents
from ingressd.sources.events import Events, Places
from ingressd.sources.folders import Listing, list_files, shown
from ingressd.sources.last_good import keep_last_good
from ingressd.sources.yaml_values import Refused

EMPTIED_S = 1.0
"""`kubectl get -o yaml >FILE` empties the file first and writes it when the answer is there: a file that has just been
emptied is being written."""


@dataclass(slots=True)
class _File:
    """One file as it was last read."""

    signature: Signature
    digest: bytes
    """Of its content; empty = it could not be read."""
    documents: tuple[Document, ...]
    faults: tuple[Fault, ...] = ()
    """Of the file as a whole; the documents have their own."""
    settled: bool = True
    """The signature tells this content from every other."""


_State = tuple[tuple[Fault, ...], tuple[tuple[str, tuple[Fault, ...], tuple[Document, ...]], ...]]


class FileSource:
    """Manifests under `paths`. `load` and `watch` may run at the same time."""

    def __init__(self, paths: Iterable[str], *, poll_interval_s: float = 2.0, events: bool = True) -> None:
        self._paths = tuple(paths)
        self._poll_interval_s = poll_interval_s
        self._events = events
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._faults: tuple[Fault, ...] = ()
        """Those of the last Listing."""
        self._listing: Listing | None = None
        """What the last look found, of `load` or of `watch`."""
        self._state: _State | None = None
        self._set = ResourceSet()
        self._announced: dict[str, Signature] | None = None
        """What the last news of `watch` was about."""

    def load(self, *, news_only: bool = False) -> ResourceSet:
        """Read what changed. `news_only`: as far as the last look of `watch` saw it, without another one."""
        with self._lock, paused():
            known = self._listing if news_only else None
            listing = known or list_files(self._paths)
            files, vanished = self._read(listing)
            if vanished:
                # Swapped under our hands: what took its place is there by now.
                listing = list_files(self._paths)
                files, _ = self._read(listing)
            self._listing = listing
            faults = self._keep_unknown(listing, files)
            self._files, self._faults = files, tuple(listing.faults)
            state = (faults, tuple((path, file.faults, file.documents) for path, file in files.items()))
            if state != self._state:
                pairs = None if self._state is None else _replaced(self._state, state)
                replaced = None if pairs is None else self._set.replaced(pairs, _faults_of(state))
                self._set = replaced or _arranged(state)
                self._state = state
            return self._set

    async def watch(self) -> AsyncGenerator[None, None]:
        """Events where the system has them, and a look every `poll_interval_s` wherever it has none."""
        events = Events()
        where: frozenset[str] = frozenset()
        looked_everywhere_at = 0.0
        try:
            while True:
                # Events that keep coming from one place must not hide that none come from another.
                if time.monotonic() - looked_everywhere_at > 2 * self._poll_interval_s:
                    where = frozenset()
                if not where:
                    looked_everywhere_at = time.monotonic()
                changed, places = await asyncio.to_thread(self._look, where)
                if self._events and await events.follow(places):
                    again, _ = await asyncio.to_thread(self._look)
                    changed = changed or again
                if changed:
                    yield
                where = await events.wait(self._poll_interval_s)
        finally:
            await events.close()

    def _read(self, listing: Listing) -> tuple[dict[str, _File], bool]:
        """The files of the listing; and whether one was gone already."""
        files: dict[str, _File] = {}
        vanished = False
        for path, signature in listing.files.items():
            known = self._files.get(path)
            if known is not None and known.signature == signature and known.settled:
                files[path] = known
                continue
            try:
                content = read_content(signature[0])
            except Unreadable as why:
                if why.gone:
                    vanished = True
                else:
                    files[path] = _unreadable(path, signature, why, known)
            else:
                files[path] = _taken(path, content, known)
        return files, vanished

    def _keep_unknown(self, listing: Listing, files: dict[str, _File]) -> tuple[Fault, ...]:
        """A folder that went away, or that cannot be read any more, keeps its files. Returns the listing's faults."""
        kept: dict[str, int] = {}
        for path, file in self._files.items():
            for unknown in listing.unknown:
                if path not in files and (path == unknown or path.startswith(os.path.join(unknown, ""))):
                    files[path] = file
                    kept[shown(unknown)] = kept.get(shown(unknown), 0) + _count(file.documents)
        if kept:
            ordered = sorted(files.items(), key=lambda item: self._order(item[0]))
            files.clear()
            files.update(ordered)
        return tuple(_noted(fault, kept.get(fault.file, 0)) for fault in listing.faults)

    def _order(self, path: str) -> tuple[int, list[str]]:
        """That of a Listing."""
        given = (
            number for number, each in enumerate(self._paths) if path == each or path.startswith(os.path.join(each, ""))
        )
        return next(given, len(self._paths)), path.split(os.sep)

    def _look(self, where: frozenset[str] = frozenset()) -> tuple[bool, Places]:
        """Whether something changed that was neither loaded nor announced, and what is to be watched.

        `where` events told of something; nowhere = look everywhere.
        """
        with self._lock:
            known = self._listing
            again = known.again(where) if where and known is not None else None
            listing = self._listing = again or list_files(self._paths)
            changed = any(
                not file.settled and listing.files.get(path) == file.signature and _differs(file)
                for path, file in self._files.items()
            )
            loaded = {path: file.signature for path, file in self._files.items()}
            if listing.files != self._announced:
                self._announced = listing.files
                changed = changed or listing.files != loaded or tuple(listing.faults) != self._faults
            return changed or self._state is None, Places.of(listing)


def _taken(path: str, content: Content, known: _File | None) -> _File:
    """The file with its new content; the same object when that is the old one."""
    digest = blake2b(content.data, digest_size=16).digest()
    if known is not None and known.digest == digest:
        known.signature, known.settled = content.signature, content.settled
        return known
    file = shown(path)
    before = known.documents if known is not None else ()
    if before and not content.data.strip() and content.written_s < EMPTIED_S:
        return _File(content.signature, b"", before, settled=False)
    try:
        text = text_of(content.data)
    except Refused as refused:
        fault = _noted(broken(file, refused), _count(before))
        return _File(content.signature, digest, before, (fault,), content.settled)
    documents = keep_last_good(before, read_documents(file, text, before))
    return _File(content.signature, digest, documents, (), content.settled)


def _unreadable(path: str, signature: Signature, why: Unreadable, known: _File | None) -> _File:
    """It is tried again with each load: nothing else tells when it can be read."""
    before = known.documents if known is not None else ()
    fault = Fault(Severity.ERROR, why.code, "", "", "", shown(path), 0, 0, f"the file {why}", why.hint)
    return _File(signature, b"", before, (_noted(fault, _count(before)),), settled=False)


def _differs(file: _File) -> bool:
    """Whether the content is another one than was loaded, although the signature is the same."""
    try:
        content = read_content(file.signature[0])
    except Unreadable:
        return bool(file.digest)
    if blake2b(content.data, digest_size=16).digest() != file.digest:
        return True
    file.settled = content.settled
    return False


def _replaced(before: _State, now: _State) -> list[tuple[Resource[Kind], Resource[Kind]]] | None:
    """The objects that others with the same keys have taken the place of; None = more than that is different."""
    if len(before[1]) != len(now[1]):
        return None
    pairs: list[tuple[Resource[Kind], Resource[Kind]]] = []
    for (path_before, _, old), (path_now, _, new) in zip(before[1], now[1], strict=True):
        if path_before != path_now or len(old) != len(new):
            return None
        for was, now_is in zip(old, new, strict=True):
            if was is now_is:
                continue
            ones, others = was.reading.resources, now_is.reading.resources
            if was.kept or now_is.kept or [each.key for each in ones] != [each.key for each in others]:
                return None
            pairs += zip(ones, others, strict=True)
    return pairs


def _arranged(state: _State) -> ResourceSet:
    _, files = state
    documents = [document for _, _, documents in files for document in documents]
    resources: list[Resource[Kind]] = []
    valid = None
    if any(document.kept for document in documents):
        valid = {resource.key for document in documents for resource in document.reading.resources}
    for document in documents:
        resources += document.reading.resources
        if valid is not None:
            # An object that was moved is where it is whole.
            resources += (resource for resource in document.kept if resource.key not in valid)
    return ResourceSet.of(resources, _faults_of(state), len(files))


def _faults_of(state: _State) -> list[Fault]:
    faults, files = state
    every = [*faults]
    for _, own, inside in files:
        every += own
        for document in inside:
            every += document.faults
    return every


def _count(documents: Iterable[Document]) -> int:
    return sum(len(document.served) for document in documents)


def _noted(fault: Fault, count: int) -> Fault:
    """The fault, saying what is served in spite of it."""
    if not count:
        return fault
    objects = "1 object is served as it was" if count == 1 else f"{count} objects are served as they were"
    return replace(fault, message=f"{fault.message}; {objects} before")
