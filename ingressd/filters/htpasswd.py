"""htpasswd: users and what their passwords must hash to, as Apache's program writes them and nginx reads them.

In: a file of `USER:HASH` lines, or users and hashes by themselves. Out: hashes by user, and whether a password is one.
A hash is in no message: lines and users are.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any

import bcrypt
from passlib.hash import (  # type: ignore[import-untyped]
    apr_md5_crypt,
    des_crypt,
    ldap_salted_sha1,
    ldap_sha1,
    md5_crypt,
    sha256_crypt,
    sha512_crypt,
)

_SCHEMES: dict[str, Any] = {
    "$apr1$": apr_md5_crypt,
    "{SHA}": ldap_sha1,
    "{SSHA}": ldap_salted_sha1,
    "$1$": md5_crypt,
    "$5$": sha256_crypt,
    "$6$": sha512_crypt,
}
_PLAIN = "{PLAIN}"  # RFC 2307 and nginx
_BCRYPT_BYTES = 72
"""What bcrypt looks at: htpasswd cuts off the rest, too."""
_BCRYPT_COST = 14
_ROUNDS = 100_000
"""Of SHA-crypt. A second of bcrypt's, a tenth of this (it holds the interpreter): more would stop the worker."""

_is_bcrypt = re.compile(r"\$2[aby]\$([0-9]{2})\$[./0-9A-Za-z]{21}[.Oeu][./0-9A-Za-z]{31}").fullmatch
_is_des_crypt = re.compile(r"[./0-9A-Za-z]{13}").fullmatch

Users = Mapping[bytes, str]
"""Hash by user."""


def read_file(data: bytes) -> Users:
    """A file's users; of several lines for one user, the first counts. Raises ValueError for a line that is none."""
    users: dict[bytes, str] = {}
    for number, line in enumerate(data.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        user, colon, rest = line.partition(b":")
        if not (user and colon):
            raise ValueError(f"line {number} is not USER:HASH")
        # nginx allows a comment behind a further colon.
        users.setdefault(user, _checked(rest.partition(b":")[0], f"line {number}"))
    return users


def read_map(data: Mapping[str, bytes]) -> Users:
    """Users and hashes by themselves. Raises ValueError for a hash that is none."""
    return {user.encode(): _checked(value.strip(), f"the value of {user}") for user, value in data.items()}


def verify(password: bytes, entry: str) -> bool:
    """Whether `entry` is a hash of `password`. It takes its time: call it in a thread."""
    if entry.startswith(_PLAIN):
        return hmac.compare_digest(entry.removeprefix(_PLAIN).encode(), password)
    try:
        if _is_bcrypt(entry):
            return bcrypt.checkpw(password[:_BCRYPT_BYTES], entry.encode("ascii"))
        return bool(_scheme(entry).verify(password, entry))
    except ValueError:  # of passwords that cannot be one: with NUL, or of many kilobytes
        return False


def _scheme(entry: str) -> Any:
    for prefix, scheme in _SCHEMES.items():
        if entry.startswith(prefix):
            return scheme
    return des_crypt if _is_des_crypt(entry) else None


def _checked(raw: bytes, where: str) -> str:
    """The entry, if it can be verified. Raises ValueError."""
    entry = raw.decode("utf-8", "replace")
    if entry.startswith(_PLAIN):
        return entry
    cost = _is_bcrypt(entry)
    if cost is not None:
        if int(cost[1]) > _BCRYPT_COST:
            raise ValueError(f"{where} has a bcrypt hash of a cost above {_BCRYPT_COST}, which would take too long")
        return entry
    scheme = _scheme(entry)
    if scheme is None:
        raise ValueError(f"{where} has no hash of a kind that is known: make one with `htpasswd -B`")
    try:
        parsed = scheme.from_string(entry)
    except (ValueError, TypeError):
        parsed = None
    if parsed is None or parsed.checksum is None:
        raise ValueError(f"{where} has a malformed {scheme.name} hash")
    if scheme in (sha256_crypt, sha512_crypt) and parsed.rounds > _ROUNDS:
        raise ValueError(f"{where} has a {scheme.name} hash of more than {_ROUNDS} rounds, which would take too long")
    return entry
