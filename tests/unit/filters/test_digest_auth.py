"""Proofs of a password: who passes, what is asked for else, and what a nonce says by itself."""

from __future__ import annotations

import hashlib
import pickle
import re

import pytest

from ingressd.filters.digest_auth import NONCE_S, DigestAuth, Proof, answer, read_digest_file, read_digest_map
from ingressd.filters.guard import USER
from ingressd.proxy.request_view import RequestView
from tests.support.asked import asked

REALM = "Authentication Required"


def _hash(user: str, password: str, realm: str = REALM) -> str:
    return hashlib.md5(f"{user}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()


FILTER = DigestAuth(REALM, {b"joe": _hash("joe", "secret"), b"ann": _hash("ann", "other")})


def _field(user: str, password: str, nonce: str, *, uri: str = "/x?y=1", method: str = "GET", **more: str) -> str:
    proof = Proof(user.encode(), more.get("realm", REALM), nonce, uri, "", "00000001", "abc")
    response = answer(_hash(user, password), method, proof)
    said = {"realm": REALM, "uri": uri, "qop": "auth", "nc": "00000001", "cnonce": "abc", "algorithm": "MD5", **more}
    return f'Digest username="{user}", nonce="{nonce}", response="{response}", ' + ", ".join(
        f"{name}={value}" if name in ("qop", "nc", "algorithm") else f'{name}="{value}"' for name, value in said.items()
    )


def _asks(value: str | None, method: str = "GET") -> RequestView:
    return asked("http://a.test/x?y=1", method=method, headers={} if value is None else {"Authorization": value})


def _challenge(request: RequestView) -> str:
    reply = FILTER.on_request(request)
    assert reply is not None
    assert reply.status == 401
    return dict(reply.headers)[b"WWW-Authenticate"].decode()


def test_the_answer_is_that_of_the_example_in_rfc_7616() -> None:
    hashed = hashlib.md5(b"Mufasa:http-auth@example.org:Circle of Life", usedforsecurity=False).hexdigest()
    proof = Proof.of(
        'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=MD5,'
        ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,'
        ' cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,'
        ' response="8ca523f5e9506fed4657c9700eebdbec", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert proof is not None
    assert answer(hashed, "GET", proof) == proof.response == "8ca523f5e9506fed4657c9700eebdbec"


def test_who_knows_the_password_passes_and_the_endpoint_sees_no_proof() -> None:
    request = _asks(_field("joe", "secret", FILTER.nonce(1000.0)))
    request.began = 1001.0
    assert FILTER.on_request(request) is None
    assert request.notes[USER] == "joe"
    assert request.header("authorization") is not None
    assert "authorization" not in request.sent  # type: ignore[attr-defined]


def test_without_a_proof_a_fresh_nonce_is_given() -> None:
    challenge = _challenge(_asks(None))
    assert re.fullmatch(
        r'Digest realm="Authentication Required", qop="auth", algorithm=MD5, nonce="[0-9a-f]{60}"', challenge
    )
    assert challenge != _challenge(_asks(None))


@pytest.mark.parametrize(
    "changed",
    [
        {"user": "eve"},
        {"password": "wrong"},
        {"uri": "/other"},
        {"method": "POST"},
        {"realm": "Elsewhere"},
    ],
)
def test_a_proof_of_something_else_is_none(changed: dict[str, str]) -> None:
    said = {"user": "joe", "password": "secret", **changed}
    request = _asks(_field(nonce=FILTER.nonce(1000.0), **said))  # type: ignore[arg-type]
    request.began = 1000.0
    assert "stale" not in _challenge(request)


@pytest.mark.parametrize(
    ("made", "began"), [(1000.0, 1001.0 + NONCE_S), (2000.0, 1000.0)], ids=["too old", "from the future"]
)
def test_an_old_nonce_is_stale_so_that_nobody_is_asked_again(made: float, began: float) -> None:
    request = _asks(_field("joe", "secret", FILTER.nonce(made)))
    request.began = began
    assert _challenge(request).endswith(", stale=true")


def test_a_nonce_that_nobody_here_made_is_stale() -> None:
    ours = FILTER.nonce(1000.0)
    of_another_time = f"{1001:012x}{ours[12:]}"
    of_others = DigestAuth(REALM, {b"joe": "0" * 32}).nonce(1000.0)
    for nonce in ("", "0" * 60, "x" * 60, "é" * 60, ours[:-1] + "g", ours[:-1], of_another_time, of_others):
        request = _asks(_field("joe", "secret", nonce))
        request.began = 1000.0
        assert _challenge(request).endswith(", stale=true"), nonce


def test_every_worker_knows_the_nonces_of_all() -> None:
    other = pickle.loads(pickle.dumps(FILTER))
    assert other == FILTER
    request = _asks(_field("joe", "secret", other.nonce(1000.0)))
    request.began = 1000.0
    assert FILTER.on_request(request) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "Digest",
        "Digest ",
        "Basic am9lOnNlY3JldA==",
        'Digest username="joe"',
        "Digest =",
        _field("joe", "secret", "n", qop="auth-int"),
        _field("joe", "secret", "n", algorithm="SHA-256"),
        _field("joe", "secret", "n", nc="1"),
        _field("joe", "secret", "n") + ', username="eve"',
        _field("joe", "secret", "n").replace('cnonce="abc"', 'cnonce="abc'),
        _field("joe", "secret", "n") + " x",
    ],
)
def test_what_is_malformed_or_of_another_kind_is_no_proof(value: str | None) -> None:
    assert Proof.of(value) is None


def test_quotes_and_spaces_are_read_as_they_are_meant() -> None:
    proof = Proof.of(
        'dIGEST  UserName = "j\\"o\\\\e" ,realm="a,b" , nonce="n", uri="/",response="r",nc=0000000A,'
        'cnonce="", qop="auth"'
    )
    assert proof == Proof(b'j"o\\e', "a,b", "n", "/", "r", "0000000A", "")


def test_users_are_those_of_the_realm() -> None:
    lines = f"# staff\n\njoe:{REALM}:{_hash('joe', 'secret').upper()}\nann:Elsewhere:{'0' * 32}\n"
    assert read_digest_file(lines.encode(), REALM) == {b"joe": _hash("joe", "secret")}
    assert read_digest_file(f"joe:a:b:{'1' * 32}".encode(), "a:b") == {b"joe": "1" * 32}
    assert read_digest_map({"joe": f" {REALM}:{'a' * 32}\n".encode()}, REALM) == {b"joe": "a" * 32}
    assert read_digest_file(b"", REALM) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"joe", "line 1 is not USER:REALM:HASH"),
        (b"joe:secret", "line 1 is not USER:REALM:HASH"),
        (b"joe::" + b"0" * 32, "line 1 is not USER:REALM:HASH"),
        (b"joe:x:" + b"0" * 31, "line 1 is not USER:REALM:HASH"),
        (b"joe:Shop:" + b"0" * 32, 'no user is of the realm "Authentication Required": set auth-realm to "Shop"'),
    ],
)
def test_a_line_that_htdigest_does_not_write_is_told(line: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_digest_file(line, REALM)


def test_a_value_without_its_realm_is_told() -> None:
    with pytest.raises(ValueError, match="the value of joe is not REALM:HASH"):
        read_digest_map({"joe": b"0" * 32}, REALM)


def test_it_shows_no_hash() -> None:
    assert str(FILTER) == "digest-auth: 2 users"
    assert _hash("joe", "secret") not in repr(FILTER)
