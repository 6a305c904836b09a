"""The jwt- family: only tokens that somebody trusted has signed may pass (RFC 7519).

In: a token in a field or a cookie. Out: 401 without a valid one, 403 for one that lacks a claim; claims that the
endpoint wants become fields. A token that was verified is not verified again while it holds and the keys stay.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import jwt

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Services, Site, Unusable, Verdict
from ingressd.filters.destination import Destination, fixed
from ingressd.filters.guard import USER, alone
from ingressd.filters.jwks import KeySet, KeySource
from ingressd.filters.offloaded import Offloaded
from ingressd.filters.recent import Recent
from ingressd.filters.token_rules import ASYMMETRIC, LEEWAY_S, SYMMETRIC, Checked, Rules
from ingressd.filters.values import items
from ingressd.http.field_rules import FRAMING, HOP_BY_HOP, valid_name

HEADER = "authorization"
JWKS_KEY, SECRET_KEY = "jwks.json", "secret"
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""RFC 7518 section 3.2: as long as the hash."""
REMEMBERED = 10_000
"""Verified tokens that a worker knows."""
HOLDS_S = 300.0
"""A token is looked at again after so long, also when it holds for years."""

_KEY = "ingressd.filters.jwt"
_token = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+").fullmatch
_bearer = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+)").fullmatch


@dataclass(frozen=True, slots=True)
class Jwt:
    """The jwt- annotations of an Ingress. One of `source`, `written` and `secret` has the keys."""

    rules: Rules
    source: Destination | None = None
    written: bytes = field(default=b"", repr=False)
    secret: bytes = field(default=b"", repr=False)
    header: str = HEADER
    cookie: str = ""
    fingerprint: bytes = field(default=b"", repr=False)
    """Tokens that were verified under other rules or with other secrets are not known here."""
    asks: ClassVar[bool] = True
    grants: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"jwt: keys of {self.source or 'a Secret'}"

    def cleanse(self, request: Request) -> None:
        """See Guard: what tokens say to the endpoint, a client cannot say."""
        for _, header in self.rules.to_headers:
            request.remove_header(header)

    def check(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """See Guard."""
        token = self._token(request)
        if token is None:
            return _refusal("Bearer", "a token is needed")
        header = _header(token)
        if header is None or header["alg"] not in self.rules.algorithms:
            return _invalid()
        keys = self._keys_at_hand(request)
        if keys is None or not (isinstance(keys, bytes) or keys.knows(header.get("kid"))):
            return self._asked(request, token, header)
        key = self._key(token, keys)
        known = _checked(request.services).get(key, request.began)
        return self._verified(request, token, header, keys) if known is None else _verdict(request, known)

    def on_request(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """401 without a valid token."""
        self.cleanse(request)
        return self.check(request)

    def _token(self, request: Request) -> str | None:
        value = request.header(self.header)
        token = None
        if value is not None:
            match = _bearer(value)
            token = match[1] if match is not None else None if self.header == HEADER else value
        if token is None and self.cookie:
            token = request.cookie(self.cookie)
        return token

    def _keys_at_hand(self, request: Request) -> KeySet | bytes | None:
        if self.secret:
            return self.secret
        if self.source is not None:
            return KeySource.of(request.services, self.source).at_hand(request)
        memory = request.services.memory.setdefault(f"{_KEY}.written", Recent(REMEMBERED))
        keys: KeySet | None = memory.get(self.written, request.began)
        if keys is None:
            keys = KeySet.parse(self.written)
            memory.put(self.written, keys, float("inf"))
        return keys

    async def _asked(self, request: Request, token: str, header: Mapping[str, Any]) -> Verdict:
        """With keys that were fetched just now, if it was time for it."""
        if self.source is None:
            return _invalid()
        keys = await KeySource.of(request.services, self.source).after_asking(request)
        if keys is None:
            return LocalReply(503, Reason.AUTH_UNAVAILABLE, "the keys of tokens cannot be read")
        return await self._verified(request, token, header, keys)

    async def _verified(self, request: Request, token: str, header: Mapping[str, Any], keys: KeySet | bytes) -> Verdict:
        if isinstance(keys, bytes):
            candidates: tuple[Any, ...] = (keys,)
        else:
            candidates = keys.candidates(header["alg"], header.get("kid"))
        key, services = self._key(token, keys), request.services
        # A signature costs 0.06 ms (RSA, 2048 bits) to 1.6 ms (P-384): too much to hold the loop for.
        checked = await Offloaded.of(services).run(services, key, partial(self.rules.check, token, candidates))
        if checked is None:
            return _invalid()
        left_s = checked.expires + LEEWAY_S - time.time()
        _checked(services).put(key, checked, request.began + min(left_s, HOLDS_S))
        return _verdict(request, checked)

    def _key(self, token: str, keys: KeySet | bytes) -> bytes:
        version = b"" if isinstance(keys, bytes) else keys.version
        return hashlib.sha256(self.fingerprint + version + token.encode("latin-1", "replace")).digest()


def _header(token: str) -> dict[str, Any] | None:
    """The token's header; None when it is no token, or one with extensions that must be understood."""
    if _token(token) is None:
        return None
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return header if isinstance(header.get("alg"), str) and "crit" not in header else None


def _verdict(request: Request, checked: Checked) -> Verdict:
    if checked.lacks:
        return LocalReply(
            403,
            Reason.AUTH_FAILED,
            "the token does not allow this",
            headers=((b"WWW-Authenticate", b'Bearer error="insufficient_scope"'),),
        )
    for name, value in checked.fields:
        request.set_header(name, value)
    if checked.subject:
        request.notes[USER] = checked.subject
    return None


def _refusal(challenge: str, detail: str) -> LocalReply:
    return LocalReply(401, Reason.AUTH_FAILED, detail, headers=((b"WWW-Authenticate", challenge.encode("ascii")),))


def _invalid() -> LocalReply:
    return _refusal('Bearer error="invalid_token"', "the token is not valid")


def _checked(services: Services) -> Recent[bytes, Checked]:
    checked: Recent[bytes, Checked] | None = services.memory.get(_KEY)
    if checked is None:
        checked = services.memory[_KEY] = Recent(REMEMBERED)
    return checked


def _algorithms(text: str) -> tuple[str, ...]:
    chosen = items(text)
    if not chosen or not set(chosen) <= {*ASYMMETRIC, *SYMMETRIC}:
        raise ValueError(f"some of {', '.join((*ASYMMETRIC, *SYMMETRIC))}, with commas between them")
    return chosen


def _list(text: str) -> tuple[str, ...]:
    if items(text):
        return items(text)
    raise ValueError("one or more, with commas between them")


def _field(text: str) -> str:
    name = text.strip().lower()
    raw = name.encode("utf-8", "replace")
    if valid_name(raw) is None or raw in FRAMING or raw in HOP_BY_HOP or raw == b"host":
        raise ValueError(f"the name of a field: not {text}")
    return name


def _pairs(example: str, of: Callable[[str], str] = str) -> Callable[[str], tuple[tuple[str, str], ...]]:
    def parse(text: str) -> tuple[tuple[str, str], ...]:
        pairs = [item.partition("=") for item in items(text)]
        if not pairs or not all(name.strip() and equals and value.strip() for name, equals, value in pairs):
            raise ValueError(f'pairs with commas between them, as in "{example}"')
        return tuple((name.strip(), of(value.strip())) for name, _, value in pairs)

    return parse


def _name(text: str) -> str:
    if text.strip():
        return text.strip()
    raise ValueError("the name of a Secret or a cookie")


SOURCES = ("jwt-jwks-url", "jwt-jwks-secret", "jwt-secret")
_REFINING = (
    "jwt-issuer",
    "jwt-audience",
    "jwt-algorithms",
    "jwt-header",
    "jwt-cookie",
    "jwt-claims-to-headers",
    "jwt-required-claims",
)


def tokens_of(values: Mapping[str, Any], site: Site) -> Jwt | None:
    """The guard that the annotations ask for. Raises Unusable."""
    given = [name for name in SOURCES if name in values]
    if not given:
        for name in _REFINING:
            if name in values:
                raise Unusable(name, "there are no keys to verify tokens with", f"add one of {', '.join(SOURCES)}")
        return None
    if len(given) > 1:
        raise Unusable(given[1], f"{given[0]} says already where the keys are", "keep one of the two")
    own = given[0]
    source: Destination | None = None
    written = secret = b""
    allowed: tuple[str, ...] = ASYMMETRIC
    if own == "jwt-jwks-url":
        source = values[own].at(site, own)
    elif own == "jwt-jwks-secret":
        written = _written(values[own], site)
    else:
        secret = _value(values[own], SECRET_KEY, own, site)
        allowed = tuple(name for name in SYMMETRIC if len(secret) >= SECRET_BYTES[name])
        if not allowed:
            least = min(SECRET_BYTES.values())
            raise Unusable(own, f"the Secret {values[own]}: `{SECRET_KEY}` is shorter than {least} bytes")
    rules = Rules(
        values.get("jwt-algorithms", allowed),
        values.get("jwt-issuer", ()),
        values.get("jwt-audience", ()),
        values.get("jwt-required-claims", ()),
        values.get("jwt-claims-to-headers", ()),
    )
    foreign = [name for name in rules.algorithms if name not in allowed]
    if foreign:
        # Whoever has a public key could sign with it, if it were taken for a secret.
        raise Unusable("jwt-algorithms", f"{foreign[0]} does not go with this {own}", f"choose of {', '.join(allowed)}")
    header, cookie = values.get("jwt-header", HEADER), values.get("jwt-cookie", "")
    fingerprint = hashlib.sha256(repr((rules, source, written, secret)).encode()).digest()
    return Jwt(rules, source, written, secret, header, cookie, fingerprint)


def _written(secret: str, site: Site) -> bytes:
    """The keys in a Secret. Raises Unusable."""
    data = _value(secret, JWKS_KEY, "jwt-jwks-secret", site)
    try:
        KeySet.parse(data)
    except ValueError as problem:
        raise Unusable("jwt-jwks-secret", f"the Secret {secret}: {problem}") from None
    return data


def _value(secret: str, key: str, annotation: str, site: Site) -> bytes:
    """What a Secret has under a key. Raises Unusable."""
    lookup = site.lookup
    assert lookup is not None
    data = lookup.secret(secret, annotation).get(key)
    if data is None:
        raise Unusable(annotation, f"the Secret {secret} has no key `{key}`")
    return data


def _native(name: str, parse: Callable[[str], Any], summary: str, default: str = "") -> Annotation:
    return Annotation(name, parse, summary, default, guard=True, native=True)


class _Spec(FilterSpec):
    name = "jwt"
    annotations = (
        _native("jwt-jwks-url", fixed(Destination.parse), "the URL of the keys that sign tokens", "no token is needed"),
        _native("jwt-jwks-secret", _name, f"the Secret that has the keys, under `{JWKS_KEY}`"),
        _native("jwt-secret", _name, f"the Secret that tokens are signed with, under `{SECRET_KEY}`"),
        _native("jwt-issuer", _list, "who may have issued a token (`iss`)", "anybody who has a key"),
        _native("jwt-audience", _list, "whom a token may be for (`aud`); one of several is enough", "anybody"),
        _native(
            "jwt-algorithms",
            _algorithms,
            "the algorithms that are taken; never `none`, and HS256 to HS512 with jwt-secret only",
            f"{', '.join(ASYMMETRIC)}; with jwt-secret {', '.join(SYMMETRIC)}",
        ),
        _native("jwt-header", _field, "the field that has the token, with `Bearer` before it or not", "Authorization"),
        _native("jwt-cookie", _name, "the cookie that has the token, when the field is not there", "none"),
        _native(
            "jwt-claims-to-headers",
            _pairs("sub=X-User, email=X-Email", _field),
            "claims that the endpoint gets as fields, which a client cannot send itself",
            "none",
        ),
        _native(
            "jwt-required-claims",
            _pairs("role=admin"),
            "claims that a token must have, else 403; lists, and texts of several words, must have it among them",
            "none",
        ),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return tokens_of(values, site) if alone(values) else None


SPEC = _Spec()
