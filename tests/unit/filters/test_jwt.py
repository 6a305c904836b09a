"""Tokens: which pass, what their endpoint hears of them, and that no other algorithm or key is taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pickle
import time
from collections.abc import Awaitable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import get_default_algorithms

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Unusable
from ingressd.filters.guard import USER
from ingressd.filters.jwks import KeySet
from ingressd.filters.jwt import HOLDS_S, SPEC, tokens_of
from ingressd.filters.token_rules import ASYMMETRIC, LEEWAY_S, SYMMETRIC, Rules
from ingressd.proxy.services import WorkerServices
from tests.support.asked import asked
from tests.unit.filters.lookup import site
from tests.unit.filters.tokens import JWKS, KEYS, RSA, SECRET, bearing, guard, jwk, parsed, token, verdict


@pytest.mark.parametrize("algorithm", [*KEYS])
async def test_a_token_passes_with_a_key_of_its_algorithm(services: WorkerServices, algorithm: str) -> None:
    made = guard()
    for _ in range(2):  # the second time it is known
        assert await verdict(made, bearing(token(algorithm), services)) is None
    name = {"RS512": "RS256", "PS256": "RS256"}.get(algorithm, algorithm)
    assert await verdict(made, bearing(token(algorithm, headers={"kid": name}), services)) is None


def _unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join((*parts, ""))


def _with_public_key_as_secret() -> str:
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    algorithm = get_default_algorithms()["HS256"]
    head, claims = _unsigned({"alg": "HS256", "typ": "JWT"}, {"sub": "joe", "exp": time.time() + 60}).split(".")[:2]
    assert algorithm is not None
    signature = base64.urlsafe_b64encode(hmac.digest(pem, f"{head}.{claims}".encode(), hashlib.sha256)).rstrip(b"=")
    return f"{head}.{claims}.{signature.decode()}"


OTHER = rsa.generate_private_key(65537, 2048)


def _now() -> int:
    return int(time.time())


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda: token(exp=_now() - LEEWAY_S - 5), id="expired"),
        pytest.param(lambda: token(nbf=_now() + LEEWAY_S + 30), id="not yet"),
        pytest.param(lambda: token(exp=None), id="for ever"),
        pytest.param(lambda: token(exp="tomorrow"), id="malformed expiry"),
        pytest.param(lambda: token(key=OTHER), id="another key"),
        pytest.param(lambda: token(headers={"kid": "ES256"}), id="a key of another algorithm"),
        pytest.param(lambda: token(headers={"kid": "gone"}), id="a key that is not known"),
        pytest.param(lambda: token(headers={"crit": ["x"], "x": 1}), id="an extension that must be understood"),
        pytest.param(lambda: token("HS256", SECRET), id="a shared secret"),
        pytest.param(_with_public_key_as_secret, id="the public key as a secret"),
        pytest.param(lambda: _unsigned({"alg": "none"}, {"sub": "joe", "exp": _now() + 60}), id="unsigned"),
        pytest.param(
            lambda: _unsigned({"alg": "none"}, {"sub": "joe", "exp": _now() + 60}) + "eA",
            id="alg none with a signature",
        ),
        pytest.param(lambda: _unsigned({"alg": "None"}, {"sub": "joe", "exp": _now() + 60}) + "eA", id="alg None"),
        pytest.param(lambda: _unsigned({"alg": ["RS256"]}, {"exp": _now() + 60}) + "eA", id="alg is a list"),
        pytest.param(lambda: token()[:-4] + "AAAA", id="another signature"),
        pytest.param(lambda: token() + ".x", id="four parts"),
        pytest.param(lambda: "x", id="no token"),
        pytest.param(lambda: "é.é.é", id="not ASCII"),
        pytest.param(lambda: base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=") + ".x.x", id="deep"),
    ],
)
async def test_a_token_that_is_not_valid_is_refused(services: WorkerServices, bad: Any) -> None:
    reply = await verdict(guard(), bearing(bad(), services))
    assert reply is not None
    assert (reply.status, reply.reason) == (401, Reason.AUTH_FAILED)
    assert reply.headers == ((b"WWW-Authenticate", b'Bearer error="invalid_token"'),)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic eA=="}, {"Authorization": "Bearer"}, {"Cookie": "t=x"}]
)
async def test_without_a_token_one_is_asked_for(services: WorkerServices, headers: dict[str, str]) -> None:
    reply = await verdict(guard(), asked(headers=headers, services=services))
    assert reply is not None
    assert (reply.status, reply.headers) == (401, ((b"WWW-Authenticate", b"Bearer"),))


async def test_clocks_may_differ_by_a_minute(services: WorkerServices) -> None:
    assert await verdict(guard(), bearing(token(exp=_now() - LEEWAY_S + 20), services)) is None


@pytest.mark.parametrize(
    ("annotations", "claims", "passes"),
    [
        ({}, {"iss": "a", "aud": "b"}, True),
        ({"issuer": "a"}, {"iss": "a"}, True),
        ({"issuer": "a, b"}, {"iss": "b"}, True),
        ({"issuer": "a"}, {"iss": "ab"}, False),
        ({"issuer": "a"}, {}, False),
        ({"audience": "shop"}, {"aud": "shop"}, True),
        ({"audience": "shop, api"}, {"aud": ["x", "api"]}, True),
        ({"audience": "shop"}, {"aud": ["x", "api"]}, False),
        ({"audience": "shop"}, {}, False),
        ({"algorithms": "ES256"}, {}, False),
        ({"algorithms": "ES256, RS256"}, {}, True),
    ],
)
async def test_issuer_audience_and_algorithm_must_be_those_that_are_named(
    services: WorkerServices, annotations: dict[str, str], claims: dict[str, Any], *, passes: bool
) -> None:
    assert (await verdict(guard(**annotations), bearing(token(**claims), services)) is None) is passes


@pytest.mark.parametrize(
    ("required", "claims", "passes"),
    [
        ("role=admin", {"role": "admin"}, True),
        ("role=admin", {"role": ["user", "admin"]}, True),
        ("scope=read", {"scope": "write read"}, True),
        ("ok=true", {"ok": True}, True),
        ("level=3", {"level": 3}, True),
        ("realm.role=admin", {"realm": {"role": ["admin"]}}, True),
        ("https://x/role=admin", {"https://x/role": "admin"}, True),
        ("role=admin", {"role": "administrator"}, False),
        ("role=admin", {"role": ["administrator"]}, False),
        ("role=admin", {}, False),
        ("role=admin, tenant=t", {"role": "admin"}, False),
        ("realm.role=admin", {"realm": "admin"}, False),
    ],
)
async def test_claims_that_are_required_must_be_there(
    services: WorkerServices, required: str, claims: dict[str, Any], *, passes: bool
) -> None:
    made = guard(required_claims=required)
    for _ in range(2):
        reply = await verdict(made, bearing(token(**claims), services))
        assert (reply is None) is passes
        if reply is not None:
            assert (reply.status, reply.reason) == (403, Reason.AUTH_FAILED)
            assert reply.headers == ((b"WWW-Authenticate", b'Bearer error="insufficient_scope"'),)


async def test_claims_become_fields_and_a_client_cannot_send_them(services: WorkerServices) -> None:
    made = guard(claims_to_headers="sub=X-User, groups=X-Groups, admin=X-Admin, mail=X-Mail, deep=X-Deep")
    claims = {"sub": "jöe", "groups": ["a", "b"], "admin": True, "deep": {"a": [1]}}
    for _ in range(2):
        request = bearing(token(**claims), services, **{"X-User": "root", "X-Mail": "root@x"})
        assert await verdict(made, request) is None
        sent = {name: value for name, value in request.sent.items() if name.startswith("x-") and name != "x-request-id"}
        assert sent == {"x-user": "jöe", "x-groups": "a,b", "x-admin": "true", "x-deep": '{"a":[1]}'}
        assert "authorization" in request.sent


async def test_the_subject_of_a_token_that_passes_is_noted_for_the_log(services: WorkerServices) -> None:
    made = guard(required_claims="role=admin")
    tokens = (
        (token(role="admin"), "joe"),
        (token(role="guest"), None),
        (token(role="admin", sub=None), None),
        ("x.y.z", None),
    )
    for text, user in tokens:
        for _ in range(2):
            request = bearing(text, services)
            await verdict(made, request)
            assert request.notes.get(USER) == user


async def test_a_claim_that_would_break_its_line_is_refused(services: WorkerServices) -> None:
    made = guard(claims_to_headers="sub=X-User")
    with pytest.raises(LocalReply) as refused:
        await verdict(made, bearing(token(sub="a\r\nX-Admin: 1"), services))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("annotations", "headers"),
    [
        ({"header": "X-Token"}, "X-Token: {}"),
        ({"header": "X-Token"}, "X-Token: Bearer {}"),
        ({"cookie": "session"}, "Cookie: a=1; session={}"),
        ({"cookie": "session"}, "Authorization: bearer {}"),
        ({"header": "X-Token", "cookie": "session"}, "Cookie: session={}"),
    ],
)
async def test_a_token_comes_in_a_field_or_a_cookie(
    services: WorkerServices, annotations: dict[str, str], headers: str
) -> None:
    name, _, value = headers.format(token()).partition(": ")
    assert await verdict(guard(**annotations), asked(headers={name: value}, services=services)) is None


async def test_a_shared_secret_signs_with_the_algorithms_that_it_is_long_enough_for(services: WorkerServices) -> None:
    made = guard(secret="keys")
    assert made.rules.algorithms == ("HS256",)
    assert await verdict(made, bearing(token("HS256", SECRET), services)) is None
    assert await verdict(made, bearing(token("HS256", SECRET[::-1]), services)) is not None
    assert await verdict(made, bearing(token(), services)) is not None
    assert guard({"secret": SECRET * 2}, secret="keys").rules.algorithms == SYMMETRIC


async def test_a_token_is_verified_once_until_it_expires_or_a_while_has_gone(services: WorkerServices) -> None:
    made, text = guard(), token()
    first = made.on_request(bearing(text, services))
    assert isinstance(first, Awaitable)
    assert await first is None
    known = bearing(text, services)
    assert made.on_request(known) is None
    later = bearing(text, services)
    later.began += HOLDS_S + 1
    again = made.on_request(later)
    assert isinstance(again, Awaitable)
    assert await again is None
    short = token(exp=_now() + 2)
    assert await verdict(made, bearing(short, services)) is None
    after = bearing(short, services)
    after.began += LEEWAY_S + 5
    again = made.on_request(after)
    assert isinstance(again, Awaitable)
    await again


async def test_what_was_verified_by_other_rules_is_not_known(services: WorkerServices) -> None:
    text = token(iss="a")
    assert await verdict(guard(issuer="a"), bearing(text, services)) is None
    assert await verdict(guard(issuer="b"), bearing(text, services)) is not None
    ours = json.dumps({"keys": [jwk("ES256", "ES256")]}).encode()
    assert await verdict(guard({"jwks.json": ours}, issuer="a"), bearing(text, services)) is not None


def test_defaults_are_those_that_the_reference_names() -> None:
    made = guard()
    assert made.rules == Rules(ASYMMETRIC, (), (), (), ())
    assert (made.header, made.cookie) == ("authorization", "")
    assert all(annotation.guard and annotation.native for annotation in SPEC.annotations)
    assert SPEC.build({}, site()) is None
    assert str(made) == "jwt: keys of a Secret"
    assert str(guard(jwks_url="https://issuer.test/keys")) == "jwt: keys of https://issuer.test"


def test_it_travels_and_shows_no_secret() -> None:
    made = guard(secret="keys")
    assert pickle.loads(pickle.dumps(made)) == made
    assert "0123456789" not in repr(made)


@pytest.mark.parametrize(
    ("annotations", "secret", "blamed", "message"),
    [
        ({"issuer": "x"}, {}, "issuer", "there are no keys to verify tokens with"),
        ({"secret": "keys", "jwks-secret": "keys"}, {}, "secret", "jwt-jwks-secret says already where the keys are"),
        ({"jwks-secret": "gone"}, {}, "jwks-secret", "there is no Secret gone"),
        ({"jwks-secret": "keys"}, {}, "jwks-secret", "the Secret keys has no key `jwks.json`"),
        ({"jwks-secret": "keys"}, {"jwks.json": b"{"}, "jwks-secret", "the Secret keys: it is not JSON"),
        ({"secret": "keys"}, {"secret": b"short"}, "secret", "the Secret keys: `secret` is shorter than 32 bytes"),
        (
            {"jwks-secret": "keys", "algorithms": "RS256,HS256"},
            {"jwks.json": JWKS},
            "algorithms",
            "HS256 does not go with this jwt-jwks-secret",
        ),
        (
            {"secret": "keys", "algorithms": "HS512"},
            {"secret": SECRET},
            "algorithms",
            "HS512 does not go with this jwt-secret",
        ),
    ],
)
def test_what_cannot_be_used_is_named(
    annotations: dict[str, str], secret: dict[str, bytes], blamed: str, message: str
) -> None:
    with pytest.raises(Unusable) as problem:
        tokens_of(parsed(annotations), site(secrets={"keys": secret}))
    assert (problem.value.annotation, str(problem.value)) == (f"jwt-{blamed}", message)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("algorithms", "none"),
        ("algorithms", "RS256,none"),
        ("algorithms", ""),
        ("issuer", " , "),
        ("header", "a b"),
        ("header", "Transfer-Encoding"),
        ("claims-to-headers", "sub"),
        ("claims-to-headers", "sub=Content-Length"),
        ("claims-to-headers", "sub=Host"),
        ("required-claims", "=x"),
        ("jwks-url", "https://$host/keys"),
        ("jwks-url", "file:///etc/passwd"),
        ("jwks-secret", ""),
    ],
)
def test_a_value_that_is_not_understood_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError):
        parsed({name: text})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is no JWK set: it has no list `keys`"),
        (b'{"keys": {}}', "it is no JWK set: it has no list `keys`"),
        (b'{"keys": [1, {}, {"kty": "RSA"}]}', "it has no public key to verify with"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "it has no public key to verify with"),
    ],
)
def test_a_set_without_keys_is_none(text: bytes, message: str) -> None:
    with pytest.raises(ValueError) as problem:
        KeySet.parse(text)
    assert str(problem.value) == message


def test_keys_for_other_purposes_and_weak_ones_are_left_out() -> None:
    weak = get_default_algorithms()["RS256"].to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    keys = [jwk("a", "RS256", use="enc"), jwk("b", "RS256", key_ops=["sign"]), {**weak, "kid": "c"}, jwk("d", "ES256")]
    found = KeySet.parse(json.dumps({"keys": keys}).encode())
    assert len(found) == 1
    assert found.knows("d")
    assert not found.knows("a")


def test_a_key_that_names_its_algorithm_is_for_no_other() -> None:
    found = KeySet.parse(json.dumps({"keys": [jwk("a", "RS256", alg="RS512")]}).encode())
    assert found.candidates("RS256", "a") == ()
    assert len(found.candidates("RS512", "a")) == 1
