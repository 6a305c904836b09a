"""Jwks: the keys that sign tokens (RFC 7517), written in a Secret or published at a URL and fetched from there.

In: a JWK set. Out: the keys for a token. A URL is asked again when its answer grows old, in the background, and when a
token names a key that is not known; while it is down, old keys serve for an hour.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

from aiohttp import ClientError, ClientTimeout
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from ingressd.filters.base import Request, Services
from ingressd.filters.destination import Destination
from ingressd.observe.sparing import Sparing

FETCH_S = 10.0
BYTES = 1024 * 1024
FRESH_S = 300.0
"""Without Cache-Control."""
LEAST_FRESH_S, MOST_FRESH_S = 60.0, 86_400.0
STALE_S = 3600.0
"""How long keys serve when they can no longer be fetched."""
PAUSE_S = 10.0
"""Between two fetches: tokens with made-up key ids must not become requests to the URL."""
SOURCES = 1_000
KEYS = 100
CANDIDATES = 10
"""Keys that one token is tried with."""
RSA_BITS = range(2048, 8193)
"""RFC 7518 section 3.3 wants 2048; what is far above makes each token cost milliseconds."""

_KEY = "ingressd.filters.jwks"
_max_age = re.compile(r"(?:^|[,\s])max-age=\"?([0-9]{1,9})").search
_log = Sparing(logging.getLogger(__name__))


class Key(NamedTuple):
    """One public key."""

    public: Any
    id: object
    algorithm: str
    """The only one that it is for; empty = any that goes with it."""


class KeySet:
    """Public keys, as they were at one time."""

    def __init__(self, keys: list[Key], version: bytes) -> None:
        self._keys = keys
        self.version = version
        """Differs when the text does."""

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def parse(cls, text: bytes) -> KeySet:
        """Keys that nobody can verify tokens with are left out. Raises ValueError when none is left."""
        try:
            written = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("it is not JSON") from None
        members = written.get("keys") if isinstance(written, dict) else None
        if not isinstance(members, list):
            raise ValueError("it is no JWK set: it has no list `keys`")
        keys = [key for member in members[:KEYS] if (key := _key(member)) is not None]
        if not keys:
            raise ValueError("it has no public key to verify with")
        return cls(keys, hashlib.sha256(text).digest())

    def candidates(self, algorithm: str, key_id: object) -> tuple[Any, ...]:
        """The keys that a token with such a header may have been signed with."""
        fitting = (
            key.public
            for key in self._keys
            if (key_id is None or key.id == key_id) and (not key.algorithm or key.algorithm == algorithm)
        )
        return tuple(islice(fitting, CANDIDATES))

    def knows(self, key_id: object) -> bool:
        """Whether it has a key with this id, or the token names none."""
        return key_id is None or any(key.id == key_id for key in self._keys)


def _key(member: object) -> Key | None:
    if not isinstance(member, Mapping) or member.get("use", "sig") != "sig" or member.get("kty") == "oct":
        return None
    operations = member.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        return None
    try:
        public = PyJWK.from_dict(dict(member)).key
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    if hasattr(public, "public_key"):  # the set has what nobody should see
        public = public.public_key()
    if isinstance(public, RSAPublicKey) and public.key_size not in RSA_BITS:
        return None
    return Key(public, member.get("kid"), str(member.get("alg", "")))


class KeySource:
    """The keys at one URL, in one worker."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._keys: KeySet | None = None
        self._fresh_until = 0.0
        self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, services: Services, destination: Destination) -> KeySource:
        """The worker's, for all routes that name the URL."""
        sources: dict[Destination, KeySource] = services.memory.setdefault(_KEY, {})
        source = sources.get(destination)
        if source is None:
            if len(sources) >= SOURCES:
                del sources[next(iter(sources))]
            source = sources[destination] = cls(destination)
        return source

    def at_hand(self, request: Request) -> KeySet | None:
        """The keys, if they may be used without asking first."""
        now = request.began
        if self._keys is None or now >= self._fresh_until + STALE_S:
            return None
        if now >= self._fresh_until:
            self._fetch(request)
        return self._keys

    async def after_asking(self, request: Request) -> KeySet | None:
        """The keys as they are once the URL was asked; None when there are none that may be used."""
        fetching = self._fetch(request)
        if fetching is not None:
            # Not awaited itself: a client that leaves must not end it for the others.
            await asyncio.wait({fetching})
        usable = self._keys is not None and request.began < self._fresh_until + STALE_S
        return self._keys if usable else None

    def _fetch(self, request: Request) -> asyncio.Task[None] | None:
        """The fetch that is under way; None when it is too early for one."""
        if self._fetching is None and request.began >= self._tried_at + PAUSE_S:
            self._tried_at = request.began
            self._fetching = request.services.spawn(self._fetched(request))
        return self._fetching

    async def _fetched(self, request: Request) -> None:
        try:
            text, fresh_s = await self._read(request)
            self._keys = KeySet.parse(text)
            self._fresh_until = request.began + fresh_s
        except (ClientError, TimeoutError, OSError, ValueError) as problem:
            _log.warning("the keys at %s cannot be read: %s: %s", self._destination, type(problem).__name__, problem)
        finally:
            self._fetching = None

    async def _read(self, request: Request) -> tuple[bytes, float]:
        """The text, and how long it is fresh. Raises ClientError, TimeoutError, OSError, ValueError."""
        place = self._destination.place(request)
        if place is None:
            raise ValueError("its Service has no endpoint that is ready")
        async with request.services.session.get(
            place.url,
            headers={"Host": place.host, "Accept": "application/json"},
            skip_auto_headers=("Accept-Encoding",),
            allow_redirects=False,
            timeout=ClientTimeout(total=FETCH_S),
            server_hostname=place.server_name,
        ) as response:
            if response.status != 200:
                raise ValueError(f"the status is {response.status}")
            text = bytearray()
            async for piece in response.content.iter_any():
                text += piece
                if len(text) > BYTES:
                    raise ValueError(f"it is larger than {BYTES} bytes")
            age = _max_age(response.headers.get("Cache-Control", "").lower())
            fresh_s = FRESH_S if age is None else min(max(float(age[1]), LEAST_FRESH_S), MOST_FRESH_S)
            return bytes(text), fresh_s
