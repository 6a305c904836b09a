"""Names and passwords: who passes, what is answered else, and that a hash is computed once."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Awaitable, Mapping
from typing import Any

import pytest

from ingressd.errors import LocalReply, Reason
from ingressd.filters import basic_auth
from ingressd.filters.base import Request, Unusable, Verdict
from ingressd.filters.basic_auth import HOLDS_S, SPEC, BasicAuth, Credentials, users_of
from ingressd.filters.guard import USER
from ingressd.filters.registry import ANNOTATIONS
from ingressd.proxy.services import WorkerServices
from tests.support.asked import asked
from tests.unit.filters.lookup import site

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # secret
USERS = {b"joe": SHA, b"ann": "{PLAIN}other"}
FILTER = BasicAuth("Authentication Required", USERS)


def _basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


async def _verdict(guard: BasicAuth, request: Request) -> Verdict:
    verdict = guard.on_request(request)
    return await verdict if isinstance(verdict, Awaitable) else verdict


def _parsed(annotations: Mapping[str, str]) -> dict[str, Any]:
    return {name: ANNOTATIONS[name].parse(text) for name, text in annotations.items()}


@pytest.mark.parametrize(
    ("value", "credentials"),
    [
        ("Basic am9lOnNlY3JldA==", (b"joe", b"secret")),
        ("bASIC   am9lOnNlY3JldA", (b"joe", b"secret")),
        ("Basic am9lOnNlOmNyZXQ=", (b"joe", b"se:cret")),
        ("Basic asO2ZTrDtg==", ("jöe".encode(), "ö".encode())),
        ("Basic am9lOg==", (b"joe", b"")),
        ("Basic am9l", None),
        ("Basic OnNlY3JldA==", None),
        ("Basic", None),
        ("Basic ", None),
        ("Basic am9lOnNlY3JldA==, Basic am9lOnNlY3JldA==", None),
        ("Basic am9l OnNl", None),
        ("Basic ####", None),
        ("Basic a", None),
        ("Bearer am9lOnNlY3JldA==", None),
        ("", None),
        (None, None),
    ],
)
def test_credentials_are_read_or_there_are_none(value: str | None, credentials: tuple[bytes, bytes] | None) -> None:
    assert Credentials.of(value) == credentials


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        (_basic("joe:secret"), True),
        (_basic("ann:other"), True),
        (_basic("joe:other"), False),
        (_basic("ann:secret"), False),
        (_basic("bob:secret"), False),
        (_basic("joe:"), False),
        (_basic(f"joe:{SHA}"), False),
        ({}, False),
        ({"Authorization": "Bearer x"}, False),
        ({"Authorization": "Basic am9lOnNlY3JldA==x"}, False),
    ],
)
async def test_users_pass_and_everybody_else_is_asked(
    services: WorkerServices, headers: dict[str, str], *, passes: bool
) -> None:
    for _ in range(2):  # the second time it is known
        request = asked(headers=headers, services=services)
        reply = await _verdict(FILTER, request)
        assert (reply is None) is passes
        assert "authorization" not in request.sent
        if reply is not None:
            assert (reply.status, reply.reason) == (401, Reason.AUTH_FAILED)
            challenge = b'Basic realm="Authentication Required", charset="UTF-8"'
            assert reply.headers == ((b"WWW-Authenticate", challenge),)


@pytest.mark.parametrize(("said", "user"), [("joe:secret", "joe"), ("joe:other", None), ("bob:secret", None)])
async def test_the_name_of_whom_it_lets_in_is_noted_for_the_log(
    services: WorkerServices, said: str, user: str | None
) -> None:
    for _ in range(2):  # the second time it is known
        request = asked(services=services, headers=_basic(said))
        await _verdict(FILTER, request)
        assert request.notes.get(USER) == user


async def test_a_password_is_hashed_once_and_again_when_its_time_is_over(
    services: WorkerServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bytes] = []

    def counting(password: bytes, entry: str) -> bool:
        calls.append(password)
        return entry == SHA and password == b"secret"

    monkeypatch.setattr(basic_auth, "verify", counting)
    for text in ("joe:secret", "joe:secret", "joe:wrong", "joe:wrong", "bob:secret", "bob:secret"):
        await _verdict(FILTER, asked(headers=_basic(text), services=services))
    assert calls == [b"secret", b"wrong", b"secret"]
    later = asked(headers=_basic("joe:secret"), services=services)
    later.began += HOLDS_S + 1
    assert await _verdict(FILTER, later) is None
    assert calls[3:] == [b"secret"]


async def test_somebody_who_is_no_user_costs_the_hash_of_a_user_and_never_passes(
    services: WorkerServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: list[str] = []

    def agreeing(password: bytes, entry: str) -> bool:
        entries.append(entry)
        return True

    monkeypatch.setattr(basic_auth, "verify", agreeing)
    reply = await _verdict(FILTER, asked(headers=_basic("bob:secret"), services=services))
    assert isinstance(reply, LocalReply)
    assert reply.status == 401
    assert entries[0] in USERS.values()


async def test_a_hash_that_was_changed_lets_the_old_password_in_no_more(services: WorkerServices) -> None:
    assert await _verdict(FILTER, asked(headers=_basic("joe:secret"), services=services)) is None
    changed = BasicAuth("x", {b"joe": "{PLAIN}new"})
    assert await _verdict(changed, asked(headers=_basic("joe:secret"), services=services)) is not None
    assert await _verdict(changed, asked(headers=_basic("joe:new"), services=services)) is None


async def test_nothing_that_is_kept_has_a_password_or_a_hash_in_it(services: WorkerServices) -> None:
    await _verdict(FILTER, asked(headers=_basic("joe:secret"), services=services))
    await _verdict(FILTER, asked(headers=_basic("joe:a-wrong-one"), services=services))
    (kept,) = (each for each in services.memory.values() if isinstance(each, basic_auth.Found))
    assert (len(kept.good), len(kept.bad)) == (1, 1)
    assert b"a-wrong-one" not in pickle.dumps(kept)
    assert b"5en6G6M" not in pickle.dumps(kept)


def test_it_travels_and_shows_no_hash() -> None:
    assert pickle.loads(pickle.dumps(FILTER)) == FILTER
    assert BasicAuth("x", {b"joe": SHA}) != BasicAuth("x", {b"joe": "{PLAIN}x"})
    assert str(FILTER) == "basic-auth: 2 users"
    assert "5en6" not in repr(FILTER)


async def test_a_realm_is_quoted(services: WorkerServices) -> None:
    reply = await _verdict(BasicAuth('the "shop" \\ back', USERS), asked(services=services))
    assert reply is not None
    assert reply.headers[0][1] == b'Basic realm="the \\"shop\\" \\\\ back", charset="UTF-8"'


@pytest.mark.parametrize(
    ("annotations", "secret", "built"),
    [
        ({}, {}, None),
        (
            {"auth-type": "basic", "auth-secret": "users"},
            {"auth": b"joe:" + SHA.encode()},
            ("Authentication Required", 1),
        ),
        (
            {"auth-type": "basic", "auth-secret": "users", "auth-secret-type": "auth-file", "auth-realm": " Shop "},
            {"auth": b"joe:" + SHA.encode()},
            ("Shop", 1),
        ),
        (
            {"auth-type": "basic", "auth-secret": "users", "auth-secret-type": "auth-map"},
            {"joe": SHA.encode(), "ann": b"{PLAIN}x"},
            ("Authentication Required", 2),
        ),
        (
            {"auth-type": "digest", "auth-secret": "users", "auth-realm": "Shop"},
            {"auth": b"joe:Shop:" + b"0" * 32},
            ("Shop", 1),
        ),
        (
            {"auth-type": "digest", "auth-secret": "users", "auth-secret-type": "auth-map"},
            {"joe": b"Authentication Required:" + b"0" * 32},
            ("Authentication Required", 1),
        ),
        ({"auth-realm": "Shop"}, {}, None),
    ],
)
def test_the_secret_is_a_file_unless_it_is_a_map(
    annotations: dict[str, str], secret: dict[str, bytes], built: tuple[str, int] | None
) -> None:
    guard = users_of(_parsed(annotations), site(secrets={"users": secret}))
    assert (guard and (guard.realm, len(guard.users))) == built
    assert SPEC.build(_parsed(annotations), site(secrets={"users": secret})) == guard


@pytest.mark.parametrize(
    ("annotations", "secret", "blamed", "message"),
    [
        ({"auth-secret": "users"}, {}, "auth-secret", "it means nothing without a valid auth-type"),
        (
            {"auth-type": "digest", "auth-secret": "users"},
            {"auth": b"joe:" + SHA.encode()},
            "auth-secret",
            "the Secret users: line 1 is not USER:REALM:HASH, as `htdigest` writes it",
        ),
        (
            {"auth-type": "digest", "auth-secret": "users", "auth-secret-type": "auth-map"},
            {},
            "auth-secret",
            "the Secret users has no user",
        ),
        ({"auth-type": "basic"}, {}, "auth-type", "there are no users without auth-secret"),
        ({"auth-type": "basic", "auth-secret": "gone"}, {}, "auth-secret", "there is no Secret gone"),
        ({"auth-type": "basic", "auth-secret": "users"}, {}, "auth-secret", "the Secret users has no key `auth`"),
        (
            {"auth-type": "basic", "auth-secret": "users"},
            {"auth": b"# none"},
            "auth-secret",
            "the Secret users has no user",
        ),
        (
            {"auth-type": "basic", "auth-secret": "users"},
            {"auth": b"joe:hunter2"},
            "auth-secret",
            "the Secret users: line 1 has no hash of a kind that is known: make one with `htpasswd -B`",
        ),
        (
            {"auth-type": "basic", "auth-secret": "users", "auth-secret-type": "auth-map"},
            {},
            "auth-secret",
            "the Secret users has no user",
        ),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_and_not_quoted(
    annotations: dict[str, str], secret: dict[str, bytes], blamed: str, message: str
) -> None:
    with pytest.raises(Unusable) as problem:
        users_of(_parsed(annotations), site(secrets={"users": secret}))
    assert (problem.value.annotation, str(problem.value)) == (blamed, message)
    assert ANNOTATIONS[blamed].guard


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("auth-type", "Basic", "one of basic, digest"),
        ("auth-secret-type", "file", "one of auth-file, auth-map"),
        ("auth-secret", " ", "the name of a Secret"),
        ("auth-realm", "a\nb", "a text without control characters"),
        ("auth-realm", " ", "a text without control characters"),
    ],
)
def test_a_value_that_is_not_understood_says_what_it_must_be(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as problem:
        ANNOTATIONS[name].parse(text)
    assert str(problem.value).startswith(message)
