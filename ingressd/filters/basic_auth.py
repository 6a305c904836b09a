"""auth-type, auth-secret, auth-secret-type, auth-realm: a name and a password (RFC 7617); or see digest_auth.py.

In: an Authorization field. Out: 401 with a challenge, unless they are those of a user in the Secret. The endpoint never
sees the field. What was found out of a password holds for minutes: a client pays for its hash once.
"""

from __future__ import annotations

import hmac
import os
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Services, Site, Unusable, Verdict
from ingressd.filters.digest_auth import DigestAuth, read_digest_file, read_digest_map
from ingressd.filters.guard import USER, alone, drop_authorization, quoted
from ingressd.filters.htpasswd import Users, read_file, read_map, verify
from ingressd.filters.offloaded import Offloaded
from ingressd.filters.recent import Recent
from ingressd.filters.values import choice

REALM = "Authentication Required"
BASIC, DIGEST = "basic", "digest"
FILE, MAP = "auth-file", "auth-map"
FILE_KEY = "auth"
"""Key of the Secret that has the lines."""

HOLDS_S = 300.0
"""A user whose line is gone or changed is out at once; this bounds for how long a password stays in memory, hashed."""
GOOD, BAD = 4096, 1024
"""Apart, so that who guesses cannot make everybody else's hash be computed again."""

_KEY = "ingressd.filters.basic_auth"
_credentials = re.compile(r"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+)(={0,2}) *").fullmatch
_printable = re.compile(r"[^\x00-\x1f\x7f]+").fullmatch


class Credentials(NamedTuple):
    """What a client says."""

    user: bytes
    password: bytes

    @classmethod
    def of(cls, field_value: str | None) -> Credentials | None:
        """Those in an Authorization field; None when there are none that are well formed."""
        match = _credentials(field_value or "")
        if match is None:
            return None
        try:
            # As in nginx, the padding may be missing.
            decoded = b64decode(match[1] + "=" * (-len(match[1]) % 4), validate=True)
        except NotBase64:
            return None
        user, colon, password = decoded.partition(b":")
        return cls(user, password) if user and colon else None


class Found:
    """What a worker has found out about passwords; it keeps neither them nor their hashes."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self.good: Recent[bytes, bool] = Recent(GOOD)
        self.bad: Recent[bytes, bool] = Recent(BAD)

    @classmethod
    def of(cls, services: Services) -> Found:
        """The worker's."""
        found: Found = services.memory.get(_KEY) or services.memory.setdefault(_KEY, cls())
        return found

    def key(self, *parts: bytes) -> bytes:
        """A name for `parts` that nobody can find out who has not the process."""
        lengths = b"".join(b"%d," % len(part) for part in parts)
        return hmac.digest(self._secret, lengths + b"".join(parts), "sha256")


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """The users of a Secret."""

    realm: str
    users: Users = field(repr=False, hash=False)
    asks: ClassVar[bool] = True
    grants: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"basic-auth: {len(self.users)} user{'' if len(self.users) == 1 else 's'}"

    def cleanse(self, request: Request) -> None:
        """See Guard: the password is not the endpoint's business."""
        drop_authorization(request)

    def check(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """See Guard."""
        credentials = Credentials.of(request.header("authorization"))
        if credentials is None:
            return self._refusal()
        found = Found.of(request.services)
        entry = self.users.get(credentials.user)
        key = found.key((entry or "").encode(), *credentials)
        if found.good.get(key, request.began):
            _let_in(request, credentials)
            return None
        if found.bad.get(key, request.began):
            return self._refusal()
        return self._verified(request, found, credentials, entry, key)

    def on_request(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """401 for everybody who is not a user."""
        self.cleanse(request)
        return self.check(request)

    async def _verified(
        self, request: Request, found: Found, credentials: Credentials, entry: str | None, key: bytes
    ) -> Verdict:
        # Somebody who is no user takes as long as a wrong password does: that of one user, always the same one.
        hashed = entry or self._some_entry(found.key(credentials.user))
        services = request.services
        matches = await Offloaded.of(services).run(services, key, partial(verify, credentials.password, hashed))
        if matches and entry is not None:
            found.good.put(key, True, request.began + HOLDS_S)
            _let_in(request, credentials)
            return None
        found.bad.put(key, True, request.began + HOLDS_S)
        return self._refusal()

    def _some_entry(self, chance: bytes) -> str:
        return list(self.users.values())[int.from_bytes(chance[:8], "big") % len(self.users)]

    def _refusal(self) -> LocalReply:
        challenge = f'Basic realm={quoted(self.realm)}, charset="UTF-8"'.encode()
        return LocalReply(
            401, Reason.AUTH_FAILED, "a name and a password are needed", headers=((b"WWW-Authenticate", challenge),)
        )


def _let_in(request: Request, credentials: Credentials) -> None:
    request.notes[USER] = credentials.user.decode("utf-8", "replace")


def _realm(text: str) -> str:
    if _printable(text.strip()):
        return text.strip()
    raise ValueError("a text without control characters")


def _name(text: str) -> str:
    if text.strip():
        return text.strip()
    raise ValueError('the name of a Secret, as in "users"')


def users_of(values: Mapping[str, Any], site: Site) -> BasicAuth | DigestAuth | None:
    """The guard that the annotations ask for. Raises Unusable."""
    secret_name = values.get("auth-secret")
    if "auth-type" not in values:
        if secret_name is None:
            return None
        raise Unusable("auth-secret", "it means nothing without a valid auth-type", 'add auth-type: "basic"')
    if secret_name is None:
        raise Unusable("auth-type", "there are no users without auth-secret", "name the Secret that has them")
    lookup = site.lookup
    assert lookup is not None
    data = lookup.secret(secret_name, "auth-secret")
    of_map = values.get("auth-secret-type", FILE) == MAP
    if not of_map and FILE_KEY not in data:
        hint = f"write the lines of htpasswd under `{FILE_KEY}`, or set auth-secret-type to {MAP}"
        raise Unusable("auth-secret", f"the Secret {secret_name} has no key `{FILE_KEY}`", hint)
    realm = values.get("auth-realm", REALM)
    guard: BasicAuth | DigestAuth
    try:
        if values["auth-type"] == DIGEST:
            guard = DigestAuth(
                realm, read_digest_map(data, realm) if of_map else read_digest_file(data[FILE_KEY], realm)
            )
        else:
            guard = BasicAuth(realm, read_map(data) if of_map else read_file(data[FILE_KEY]))
    except ValueError as problem:
        raise Unusable("auth-secret", f"the Secret {secret_name}: {problem}") from None
    if not guard.users:
        program = "htdigest" if values["auth-type"] == DIGEST else "htpasswd -B"
        raise Unusable("auth-secret", f"the Secret {secret_name} has no user", f"add one with `{program}`")
    return guard


class _Spec(FilterSpec):
    name = "basic-auth"
    annotations = (
        Annotation(
            "auth-type",
            choice(BASIC, DIGEST),
            "`basic`: ask for a name and a password; `digest`: for a proof of it (RFC 7616 with MD5 and qop=auth; what"
            " is overheard without TLS can be said again for five minutes)",
            "nobody is asked",
            guard=True,
        ),
        Annotation(
            "auth-secret",
            _name,
            "the Secret that has the users",
            guard=True,
            note="It is in the namespace of the Ingress. Without auth-type the route is closed, not open.",
        ),
        Annotation(
            "auth-secret-type",
            choice(FILE, MAP),
            f"`{FILE}`: lines of htpasswd (htdigest) under the key `{FILE_KEY}`; `{MAP}`: a key for each user, its hash"
            " (its realm and hash) the value",
            FILE,
            guard=True,
            note="A Secret with a line or a hash that is not understood closes the route.",
        ),
        Annotation("auth-realm", _realm, "what browsers show when they ask", REALM),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return users_of(values, site) if alone(values) else None


SPEC = _Spec()
