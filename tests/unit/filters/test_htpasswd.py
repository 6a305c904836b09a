"""htpasswd: lines as Apache's program and openssl write them, of each algorithm; and lines that are none."""

from __future__ import annotations

import base64
import hashlib
import subprocess

import pytest

from ingressd.filters.htpasswd import read_file, read_map, verify

PASSWORD = "pässword:with: colons"


def _htpasswd(*flags: str, password: str = PASSWORD) -> str:
    line = subprocess.run(
        ["htpasswd", "-nb", *flags, "joe", password], capture_output=True, text=True, check=True
    ).stdout.strip()
    return line.partition(":")[2]


def _openssl(flag: str) -> str:
    done = subprocess.run(["openssl", "passwd", flag, PASSWORD], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _salted_sha() -> str:
    salt = b"saltsalt"
    return "{SSHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode() + salt).digest() + salt).decode()


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(lambda: _htpasswd("-m"), id="apr1"),
        pytest.param(lambda: _htpasswd("-B"), id="bcrypt"),
        pytest.param(lambda: _htpasswd("-B").replace("$2y$", "$2b$"), id="bcrypt-2b"),
        pytest.param(lambda: _htpasswd("-B").replace("$2y$", "$2a$"), id="bcrypt-2a"),
        pytest.param(lambda: _htpasswd("-s"), id="sha"),
        pytest.param(lambda: _htpasswd("-2"), id="sha256"),
        pytest.param(lambda: _htpasswd("-5"), id="sha512"),
        pytest.param(lambda: _openssl("-1"), id="md5"),
        pytest.param(lambda: _openssl("-5"), id="openssl-sha256"),
        pytest.param(_salted_sha, id="ssha"),
        pytest.param(lambda: "{PLAIN}" + PASSWORD.partition(":")[0], id="plain"),
    ],
)
def test_a_password_is_known_by_each_kind_of_hash(entry: object) -> None:
    assert callable(entry)
    made = entry()
    password = PASSWORD.partition(":")[0] if made.startswith("{PLAIN}") else PASSWORD
    users = read_file(f"joe:{made}\n".encode())
    assert users == {b"joe": made}
    assert verify(password.encode(), made)
    assert not verify(password.encode() + b"x", made)
    assert not verify(b"", made)


def test_des_crypt_looks_at_eight_characters_as_it_always_has() -> None:
    entry = _htpasswd("-d", password="12345678")
    assert read_file(b"joe:" + entry.encode()) == {b"joe": entry}
    assert verify(b"12345678", entry)
    assert verify(b"123456789", entry)
    assert not verify(b"1234567", entry)


def test_bcrypt_looks_at_72_bytes_as_htpasswd_does() -> None:
    entry = _htpasswd("-B", password="x" * 72)
    assert verify(b"x" * 72, entry)
    assert verify(b"x" * 100, entry)
    assert not verify(b"x" * 71, entry)


@pytest.mark.parametrize("password", [b"a\0b", b"\xff\xfe", b"x" * 100_000, b""])
def test_what_can_be_no_password_is_none(password: bytes) -> None:
    for flag in ("-m", "-B", "-s", "-d", "-5"):
        assert not verify(password, _htpasswd(flag, password="secret"))


def test_blank_lines_and_comments_are_no_users_and_of_two_lines_the_first_counts() -> None:
    text = b"# people\n\njoe:{PLAIN}one:his comment\r\n  ann:{PLAIN}two  \njoe:{PLAIN}three\n"
    assert read_file(text) == {b"joe": "{PLAIN}one", b"ann": "{PLAIN}two"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("joe", "line 2 is not USER:HASH"),
        (":{PLAIN}x", "line 2 is not USER:HASH"),
        ("joe:hunter2", "line 2 has no hash of a kind that is known: make one with `htpasswd -B`"),
        ("joe:", "line 2 has no hash of a kind that is known: make one with `htpasswd -B`"),
        ("joe:$apr1$", "line 2 has a malformed apr_md5_crypt hash"),
        ("joe:$2y$05$short", "line 2 has no hash of a kind that is known: make one with `htpasswd -B`"),
        ("joe:{SHA}????", "line 2 has a malformed ldap_sha1 hash"),
        ("joe:$2y$15$" + "." * 53, "line 2 has a bcrypt hash of a cost above 14, which would take too long"),
        (
            "joe:$6$rounds=900000$saltsalt$" + "a" * 86,
            "line 2 has a sha512_crypt hash of more than 100000 rounds, which would take too long",
        ),
    ],
)
def test_a_line_that_is_none_is_named_by_its_number_and_never_quoted(line: str, message: str) -> None:
    with pytest.raises(ValueError) as problem:
        read_file(f"ann:{{PLAIN}}x\n{line}\n".encode())
    assert str(problem.value) == message


def test_a_map_has_users_and_hashes_by_themselves() -> None:
    assert read_map({"joe": b"{PLAIN}x\n"}) == {b"joe": "{PLAIN}x"}
    with pytest.raises(ValueError, match=r"^the value of joe has no hash of a kind that is known"):
        read_map({"joe": b"hunter2"})
