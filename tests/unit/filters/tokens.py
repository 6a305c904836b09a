"""Keys, tokens that they sign, and guards that know them."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Mapping
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from ingressd.filters.base import Request, Verdict
from ingressd.filters.jwt import Jwt, tokens_of
from ingressd.filters.registry import ANNOTATIONS
from ingressd.proxy.services import WorkerServices
from tests.support.asked import asked
from tests.unit.filters.lookup import site

RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "RS256": RSA,
    "RS512": RSA,
    "PS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
SECRET = b"0123456789abcdef0123456789abcdef"


def jwk(name: str, algorithm: str, **more: object) -> dict[str, Any]:
    """A public key of KEYS as a member of a JWK set."""
    public = get_default_algorithms()[algorithm].to_jwk(KEYS[algorithm].public_key(), as_dict=True)
    return {**public, "kid": name, **more}


JWKS = json.dumps({"keys": [jwk(name, name) for name in ("RS256", "ES256", "ES384", "EdDSA")]}).encode()


def token(algorithm: str = "RS256", key: Any = None, headers: dict[str, Any] | None = None, **claims: object) -> str:
    """A token that holds for an hour, unless its claims say something else; a claim of None is left out."""
    all_claims = {"sub": "joe", "exp": int(time.time()) + 3600, **claims}
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return pyjwt.encode(kept, KEYS[algorithm] if key is None else key, algorithm=algorithm, headers=headers)


def parsed(annotations: Mapping[str, str]) -> dict[str, Any]:
    return {f"jwt-{name}": ANNOTATIONS[f"jwt-{name}"].parse(text) for name, text in annotations.items()}


def guard(data: Mapping[str, bytes] | None = None, /, **annotations: str) -> Jwt:
    """Built from annotations; with the keys in a Secret unless they say something else."""
    names = {name.replace("_", "-"): text for name, text in annotations.items()}
    if not {"jwks-url", "secret", "jwks-secret"} & names.keys():
        names["jwks-secret"] = "keys"
    made = tokens_of(
        parsed(names), site(secrets={"keys": {"jwks.json": JWKS, "secret": SECRET} if data is None else data})
    )
    assert made is not None
    return made


async def verdict(made: Jwt, request: Request) -> Verdict:
    answer = made.on_request(request)
    return await answer if isinstance(answer, Awaitable) else answer


def bearing(text: str, services: WorkerServices, **headers: str) -> Any:
    return asked(headers={"Authorization": f"Bearer {text}", **headers}, services=services)
