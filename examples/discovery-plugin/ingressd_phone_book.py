"""Endpoints from a text file of lines `NAME ADDRESS PORT`, read again every second."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from ingressd.discovery.base import Answer, Query
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint


class PhoneBook:
    def __init__(self, settings: Settings) -> None:
        self._file = Path(os.environ.get("PHONE_BOOK", "phone-book.txt"))

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        while True:
            text = await asyncio.to_thread(self._file.read_text)
            entries = [line.split() for line in text.splitlines()]
            found = [Endpoint(e[1], int(e[2]), source="phone-book") for e in entries if e[:1] == [query.target]]
            yield Answer(tuple(found), "" if found else f"{query.target} is not in {self._file}")
            await asyncio.sleep(1)
