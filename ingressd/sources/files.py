"""Files as a source of resources.

In: paths of files and folders. Out: ResourceSets. A file is read when its signature changed, and only its content
decides; a document is read when it changed; what broke is served as it was before (last_good.py).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain, compress
from operator import attrgetter, ne

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
from ingressd.table.snapshot import edited

EMPTIED_S = 1.0
"""`kubectl get -o yaml >FILE` empties the file first and writes it when the answer is there: a file that has just been
emptied is being written."""
REST_S = 0.0005
"""Between two parts of a look that nobody waits for."""


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
    told: tuple[Fault, ...] = field(init=False)
    """The faults of the file and of its documents."""

    def __post_init__(self) -> None:
        self.told = (*self.faults, *chain.from_iterable(document.faults for document in self.documents))

    def says(self, other: _File) -> bool:
        """Whether the same comes of both."""
        return self is other or (self.faults, self.documents) == (other.faults, other.documents)


class FileSource:
    """Manifests under `paths`. `load` and `watch` may run at the same time."""

    def __init__(self, paths: Iterable[str], *, poll_interval_s: float = 2.0, events: bool = True) -> None:
        self._paths = tuple(paths)
        self._poll_interval_s = poll_interval_s
        self._events = events
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._loaded: Mapping[str, Signature] = {}
        """The signatures of the files."""
        self._unsettled: tuple[str, ...] = ()
        """Files whose signature is not to be relied on."""
        self._faults: tuple[Fault, ...] = ()
        """Those of the last Listing."""
        self._told: tuple[Fault, ...] = ()
        """The same, saying what is served in spite of them."""
        self._listing: Listing | None = None
        """What the last look found, of `load` or of `watch`."""
        self._set: ResourceSet | None = None
        self._announced: dict[str, Signature] | None = None
        """What the last news of `watch` was about."""

    def load(self, *, news_only: bool = False) -> ResourceSet:
        """Read what changed. `news_only`: as far as the last look of `watch` saw it, without another one."""
        with self._lock, paused():
            known = self._listing if news_only else None
            listing = known or self._listed()
            files, read = self._read(listing)
            if len(files) < len(listing.files):
                # Swapped under our hands: what took its place is there by now.
                listing = self._listed()
                files, read = self._read(listing)
            self._listing = listing
            told = self._keep_unknown(listing, files)
            self._set = found = self._arranged(files, read, told)
            self._files, self._faults, self._told = files, tuple(listing.faults), told
            self._sign(listing, read)
            return found

    async def watch(self) -> AsyncGenerator[None, None]:
        """Events where the system has them, and a look every `poll_interval_s` wherever it has none."""
        events = Events()
        where: frozenset[str] = frozenset()
        looked_everywhere_at = 0.0
        try:
            while True:
                changed, places = await asyncio.to_thread(self._look, where)
                if not where:
                    looked_everywhere_at = time.monotonic()
                if self._events and await events.follow(places):
                    again, _ = await asyncio.to_thread(self._look)
                    changed = changed or again
                if changed:
                    yield
                # Events that keep coming from one place must not hide that none come from another.
                overdue = time.monotonic() - looked_everywhere_at > 2 * self._poll_interval_s
                where = frozenset() if overdue else await events.wait(self._poll_interval_s)
        finally:
            await events.close()

    def _listed(self, found: Listing | None = None) -> Listing:
        """What there is, with the very objects of the last look for all that is as it was: so that is quickly seen."""
        listing, known = found or list_files(self._paths), self._listing
        if known is not None and list(known.files) == list(listing.files):
            news = compress(listing.files.items(), map(ne, known.files.values(), listing.files.values()))
            listing.files = {**known.files, **dict(news)}
        return listing

    def _read(self, listing: Listing) -> tuple[dict[str, _File], Collection[str] | None]:
        """The files of the listing; and those that were looked at, None = other ones are there than before.

        One that was gone already is missing.
        """
        files: dict[str, _File] = {}
        read: Collection[str] = listing.files
        same = list(listing.files) == list(self._loaded)
        if same:
            files = dict(self._files)
            news = (path for path in edited(self._loaded, listing.files) if listing.files[path] != self._loaded[path])
            read = dict.fromkeys((*news, *self._unsettled))
        for path in read:
            known, signature = self._files.get(path), listing.files[path]
            if known is not None and known.signature == signature and known.settled:
                files[path] = known
                continue
            try:
                content = read_content(signature[0])
            except Unreadable as why:
                if why.gone:
                    files.pop(path, None)
                    same = False
                else:
                    files[path] = _unreadable(path, signature, why, known)
            else:
                files[path] = _taken(path, content, known)
        return files, read if same else None

    def _sign(self, listing: Listing, read: Collection[str] | None) -> None:
        """Note the signatures of the files that were looked at."""
        signatures = {path: self._files[path].signature for path in (self._files if read is None else read)}
        loaded = signatures if read is None else {**self._loaded, **signatures}
        self._loaded = listing.files if loaded == listing.files else loaded
        self._unsettled = tuple(path for path in signatures if not self._files[path].settled)

    def _arranged(self, files: dict[str, _File], read: Collection[str] | None, told: tuple[Fault, ...]) -> ResourceSet:
        """The resources of the files; the very same set as before if they say the same."""
        before = self._files
        if self._set is None or (read is None and list(files) != list(before)):
            return _set_of(files, told)
        news = [path for path in (files if read is None else read) if not files[path].says(before[path])]
        if not news and told == self._told:
            return self._set
        pairs = _replaced([(before[path].documents, files[path].documents) for path in news])
        if pairs is None:
            return _set_of(files, told)
        same = told == self._told and all(files[path].told == before[path].told for path in news)
        faults = None if same else _faults_of(files, told)
        return self._set.replaced(pairs, faults) or _set_of(files, told)

    def _keep_unknown(self, listing: Listing, files: dict[str, _File]) -> tuple[Fault, ...]:
        """A folder that went away, or that cannot be read any more, keeps its files. Returns the listing's faults."""
        kept: dict[str, int] = {}
        for path, file in self._files.items() if listing.unknown else ():
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

        `where` events told of something; nowhere = look everywhere, with rests: on a small machine requests and
        this look share a core, and ten thousand files take 50 ms of it.
        """
        known = self._listing
        found = None if where else list_files(self._paths, lambda: time.sleep(REST_S))
        with self._lock:
            if self._listing is not known:
                known, found = self._listing, None  # somebody else has looked meanwhile, and later
            again = known.again(where) if where and known is not None else None
            listing = self._listing = again or self._listed(found)
            unsettled = ((path, self._files[path]) for path in self._unsettled)
            changed = any(
                not file.settled and listing.files.get(path) == file.signature and _differs(file)
                for path, file in unsettled
            )
            if listing.files != self._announced:
                self._announced = listing.files
                changed = changed or listing.files != self._loaded or tuple(listing.faults) != self._faults
            return changed or self._set is None, Places.of(listing)


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


def _replaced(
    edits: Iterable[tuple[tuple[Document, ...], tuple[Document, ...]]],
) -> list[tuple[Resource[Kind], Resource[Kind]]] | None:
    """The objects that others with the same keys have taken the place of; None = more than that is different."""
    pairs: list[tuple[Resource[Kind], Resource[Kind]]] = []
    for old, new in edits:
        if len(old) != len(new):
            return None
        for was, now_is in zip(old, new, strict=True):
            if was is now_is:
                continue
            ones, others = was.reading.resources, now_is.reading.resources
            if was.kept or now_is.kept or [each.key for each in ones] != [each.key for each in others]:
                return None
            pairs += zip(ones, others, strict=True)
    return pairs


def _set_of(files: Mapping[str, _File], told: tuple[Fault, ...]) -> ResourceSet:
    documents = [document for file in files.values() for document in file.documents]
    resources: list[Resource[Kind]] = []
    valid = None
    if any(document.kept for document in documents):
        valid = {resource.key for document in documents for resource in document.reading.resources}
    for document in documents:
        resources += document.reading.resources
        if valid is not None:
            # An object that was moved is where it is whole.
            resources += (resource for resource in document.kept if resource.key not in valid)
    return ResourceSet.of(resources, _faults_of(files, told), len(files))


def _faults_of(files: Mapping[str, _File], told: tuple[Fault, ...]) -> Iterable[Fault]:
    return chain(told, chain.from_iterable(map(attrgetter("told"), files.values())))


def _count(documents: Iterable[Document]) -> int:
    return sum(len(document.served) for document in documents)


def _noted(fault: Fault, count: int) -> Fault:
    """The fault, saying what is served in spite of it."""
    if not count:
        return fault
    objects = "1 object is served as it was" if count == 1 else f"{count} objects are served as they were"
    return replace(fault, message=f"{fault.message}; {objects} before")
