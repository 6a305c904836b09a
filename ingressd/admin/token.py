"""The bearer token of the admin port: what may be one, and whether a request has it.

In: a token and the Authorization fields of a request. Out: yes or no, in a time that tells nothing about the token.
Standard library only; the token is in no repr and no message.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

TOKEN_LEAST = 16
"""Characters: with `openssl rand -hex 16` and more there is nothing to guess, so there is no need to count guesses."""
TOKEN_MOST = 4096
"""Characters: what fits into a header line."""
TOKEN_WORDS = (
    f"an admin token is {TOKEN_LEAST} to {TOKEN_MOST} letters, digits and -._~+/ (`openssl rand -hex 32` makes one)"
)

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # b64token of RFC 6750 section 2.1
_SCHEME = "bearer "


def is_token(text: str) -> bool:
    """Whether a client can send it, and nobody can guess it."""
    return TOKEN_LEAST <= len(text) <= TOKEN_MOST and _TOKEN.fullmatch(text) is not None


class Token:
    """One token, kept as its digest only."""

    __slots__ = ("_digest",)

    def __init__(self, text: str) -> None:
        """Raises ValueError when `text` cannot be one; the message does not have it."""
        if not is_token(text):
            raise ValueError(TOKEN_WORDS)
        self._digest = _digest(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and hmac.compare_digest(self._digest, other._digest)

    def __hash__(self) -> int:
        return hash(self._digest)

    def opens(self, fields: Sequence[str]) -> bool:
        """Whether the request's one Authorization field has this token."""
        if len(fields) != 1 or fields[0][: len(_SCHEME)].lower() != _SCHEME:
            return False
        # Digests of one length: the time of a comparison tells neither a common beginning nor the token's length.
        return hmac.compare_digest(_digest(fields[0][len(_SCHEME) :].strip(" ")), self._digest)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
