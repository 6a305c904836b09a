"""Rules of tokens: who may have signed one, for whom, and what its claims must be.

In: a token and the keys that it may have been signed with. Out: what the endpoint hears of it, and what it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SYMMETRIC = ("HS256", "HS384", "HS512")
LEEWAY_S = 60
"""Clocks differ (Envoy's clock_skew_seconds is as long)."""

_MISSING = object()

Fields = tuple[tuple[str, str], ...]


class Checked(NamedTuple):
    """What came of a token whose signature is good."""

    fields: Fields
    """For the endpoint."""
    lacks: str
    """The claim that it does not have as it must; empty = it may pass."""
    expires: float
    """Epoch seconds."""
    subject: str = ""
    """Whose token it is (`sub`); empty = it does not say."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must be."""

    algorithms: tuple[str, ...] = ASYMMETRIC
    issuers: tuple[str, ...] = ()
    """Empty = any."""
    audiences: tuple[str, ...] = ()
    """One of them is enough; empty = it is not looked at."""
    required: tuple[tuple[str, str], ...] = ()
    """Claims and their values."""
    to_headers: tuple[tuple[str, str], ...] = ()
    """Claims and the fields that they become."""

    def check(self, token: str, keys: tuple[Any, ...]) -> Checked | None:
        """None for a token that none of the keys has signed, or that does not hold. Call it in a thread."""
        for key in keys:
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=list(self.algorithms),
                    issuer=list(self.issuers) or None,
                    audience=list(self.audiences) or None,
                    leeway=LEEWAY_S,
                    options={"require": ["exp"], "verify_aud": bool(self.audiences), "verify_iss": bool(self.issuers)},
                )
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                continue
            lacks = next((name for name, value in self.required if not _has(_claim(claims, name), value)), "")
            fields = ((header, _text(_claim(claims, name))) for name, header in self.to_headers)
            kept = tuple(each for each in fields if each[1])
            return Checked(kept, lacks, float(claims["exp"]), _text(claims.get("sub")))
        return None


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """`a.b` is a claim of this name, or `b` inside of `a`."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value


def _has(claim: Any, value: str) -> bool:
    """A list has its members, a text its words (as `scope` does) and itself."""
    if isinstance(claim, list):
        return any(_text(each) == value for each in claim)
    text = "" if claim is _MISSING else _text(claim)
    return text == value or (isinstance(claim, str) and value in claim.split(" "))


def _text(claim: Any) -> str:
    """A claim as the value of a field; what is no text and no list of them is JSON."""
    if claim is _MISSING or claim is None:
        return ""
    if isinstance(claim, list) and all(isinstance(each, str) for each in claim):
        claim = ",".join(claim)
    return claim if isinstance(claim, str) else json.dumps(claim, separators=(",", ":"))
