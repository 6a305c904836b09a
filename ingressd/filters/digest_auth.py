"""auth-type digest: a name, and a proof of knowing its password that is good for one request (RFC 7616, with MD5).

In: an Authorization field. Out: 401 with a challenge, unless the proof is that of a user in the Secret. Nothing is kept
between requests: a nonce says by itself when it was made, and that one of the workers made it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Request
from ingressd.filters.guard import USER, drop_authorization, quoted

NONCE_S = 300.0
"""How long a nonce holds (Apache's AuthDigestNonceLifetime). A client is given a new one without asking anybody."""
_TIME_DIGITS = 12
_CHANCE_BYTES = 8
_SIGNED_DIGITS = 32
_NONCE_DIGITS = _TIME_DIGITS + 2 * _CHANCE_BYTES + _SIGNED_DIGITS

_scheme = re.compile(r"[Dd][Ii][Gg][Ee][Ss][Tt] +").match
_pair = re.compile(r'[\t ]*+([A-Za-z]++)[\t ]*+=[\t ]*+(?:"((?:[^"\\]|\\.)*)"|([^\t ",]*+))[\t ]*+(?:,|\Z)')
_escape = re.compile(r"\\(.)")
_hash = re.compile(rb"[0-9A-Fa-f]{32}").fullmatch
_count = re.compile(r"[0-9A-Fa-f]{8}").fullmatch
_hexadecimal = re.compile(r"[0-9a-f]+").fullmatch

DigestUsers = Mapping[bytes, str]
"""MD5 of `USER:REALM:PASSWORD` in hexadecimal, by user."""


class Proof(NamedTuple):
    """What a client says."""

    user: bytes
    realm: str
    nonce: str
    uri: str
    response: str
    uses: str
    """How often it has used the nonce, as it writes it."""
    client_nonce: str

    @classmethod
    def of(cls, field_value: str | None) -> Proof | None:
        """That in an Authorization field; None when there is none that is well formed, or it is of another kind."""
        start = _scheme(field_value or "")
        if field_value is None or start is None:
            return None
        said: dict[str, str] = {}
        at = start.end()
        while at < len(field_value):
            match = _pair.match(field_value, at)
            if match is None or match[1].lower() in said:
                return None
            said[match[1].lower()] = _escape.sub(r"\1", match[2]) if match[3] is None else match[3]
            at = match.end()
        if said.get("qop") != "auth" or said.get("algorithm", "MD5").upper() != "MD5":
            return None
        try:
            user = said["username"].encode("latin-1")
            rest = [said[name] for name in ("realm", "nonce", "uri", "response", "nc", "cnonce")]
        except KeyError:
            return None
        return cls(user, *rest) if _count(said["nc"]) else None


@dataclass(frozen=True, slots=True)
class DigestAuth:
    """The users of a Secret, in one realm."""

    realm: str
    users: DigestUsers = field(repr=False, hash=False)
    asks: ClassVar[bool] = True
    grants: ClassVar[bool] = True
    _secret: bytes = field(init=False, repr=False, compare=False, default=b"")
    """Signs nonces: the same in every worker, and known to whoever knows what all passwords hash to."""

    def __post_init__(self) -> None:
        lines = sorted(b"%b:%b" % (user, hashed.encode("ascii")) for user, hashed in self.users.items())
        secret = hashlib.sha256(b"\n".join((self.realm.encode(), *lines))).digest()
        object.__setattr__(self, "_secret", secret)

    def __str__(self) -> str:
        return f"digest-auth: {len(self.users)} user{'' if len(self.users) == 1 else 's'}"

    def cleanse(self, request: Request) -> None:
        """See Guard: the proof is not the endpoint's business."""
        drop_authorization(request)

    def check(self, request: Request) -> LocalReply | None:
        """See Guard."""
        proof = Proof.of(request.header("authorization"))
        if proof is None or not self._proves(request, proof):
            return self._refusal(request)
        if not self._is_fresh(proof.nonce, request.began):
            return self._refusal(request, stale=True)
        request.notes[USER] = proof.user.decode("utf-8", "replace")
        return None

    def on_request(self, request: Request) -> LocalReply | None:
        """401 for everybody who is not a user."""
        self.cleanse(request)
        return self.check(request)

    def nonce(self, now: float) -> str:
        """One that is made `now`, in monotonic seconds, the clock of all processes of this machine."""
        start = f"{int(now):0{_TIME_DIGITS}x}{os.urandom(_CHANCE_BYTES).hex()}"
        return start + self._signature(start)

    def _proves(self, request: Request, proof: Proof) -> bool:
        # Who is no user takes as long as a wrong password does.
        hashed = self.users.get(proof.user)
        expected = answer(hashed or _md5(b""), request.method, proof)
        right = hmac.compare_digest(expected.encode(), proof.response.lower().encode("utf-8"))
        # RFC 7616 section 3.4.6: what the proof is for must be what is asked.
        return right and hashed is not None and proof.realm == self.realm and proof.uri == request.target

    def _is_fresh(self, nonce: str, now: float) -> bool:
        start, signature = nonce[:-_SIGNED_DIGITS], nonce[-_SIGNED_DIGITS:]
        if len(nonce) != _NONCE_DIGITS or not _hexadecimal(nonce):
            return False
        if not hmac.compare_digest(self._signature(start), signature):
            return False
        return 0 <= now - int(start[:_TIME_DIGITS], 16) <= NONCE_S

    def _signature(self, start: str) -> str:
        return hmac.digest(self._secret, start.encode("ascii"), "sha256").hex()[:_SIGNED_DIGITS]

    def _refusal(self, request: Request, *, stale: bool = False) -> LocalReply:
        challenge = f'Digest realm={quoted(self.realm)}, qop="auth", algorithm=MD5, nonce="{self.nonce(request.began)}"'
        challenge += ", stale=true" if stale else ""
        return LocalReply(
            401,
            Reason.AUTH_FAILED,
            "a name and a password are needed",
            headers=((b"WWW-Authenticate", challenge.encode()),),
        )


def answer(hashed: str, method: str, proof: Proof) -> str:
    """What a client that knows the password says (RFC 7616 section 3.4.1, qop=auth)."""
    asked = _md5(f"{method}:{proof.uri}".encode("latin-1", "replace"))
    parts = (hashed, proof.nonce, proof.uses, proof.client_nonce, "auth", asked)
    return _md5(":".join(parts).encode("latin-1", "replace"))


def read_digest_file(data: bytes, realm: str) -> DigestUsers:
    """The users of a realm, from `USER:REALM:HASH` lines as htdigest writes them. Raises ValueError."""
    users: dict[bytes, str] = {}
    realms: set[str] = set()
    for number, line in enumerate(data.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        user, _, rest = line.partition(b":")
        of_realm, _, hashed = rest.rpartition(b":")
        if not (user and of_realm and _hash(hashed)):
            raise ValueError(f"line {number} is not USER:REALM:HASH, as `htdigest` writes it")
        realms.add(of_realm.decode("utf-8", "replace"))
        if of_realm == realm.encode():
            users.setdefault(user, hashed.decode("ascii").lower())
    return _of_realm(users, realm, realms)


def read_digest_map(data: Mapping[str, bytes], realm: str) -> DigestUsers:
    """The users of a realm, from `REALM:HASH` by user. Raises ValueError."""
    users: dict[bytes, str] = {}
    realms: set[str] = set()
    for user, value in data.items():
        of_realm, _, hashed = value.strip().rpartition(b":")
        if not (of_realm and _hash(hashed)):
            raise ValueError(f"the value of {user} is not REALM:HASH, as `htdigest` writes it")
        realms.add(of_realm.decode("utf-8", "replace"))
        if of_realm == realm.encode():
            users[user.encode()] = hashed.decode("ascii").lower()
    return _of_realm(users, realm, realms)


def _of_realm(users: DigestUsers, realm: str, realms: set[str]) -> DigestUsers:
    if realms and not users:
        raise ValueError(f'no user is of the realm "{realm}": set auth-realm to "{min(realms)}"')
    return users


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()  # RFC 7616 has it so
