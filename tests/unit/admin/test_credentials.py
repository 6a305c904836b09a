"""The admin port's token and certificate: read, refused in words, and followed when their files change."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingressd.admin.credentials import Credentials, check, refuse_strangers
from ingressd.admin.token import Token
from ingressd.errors import StartupError
from ingressd.settings import OFF, Settings
from ingressd.sources.certificate_files import write_file
from tests.support.certificates import issue

SECRET = "a-secret-of-the-tests-0123456789"
OTHER = "another-secret-of-the-tests-9876"


def settings(folder: Path, token: str = "", *names: str) -> Settings:
    """With a token file that has `token`, and a certificate for `names`."""
    given = Settings(poll_interval_s=0.01)
    if token:
        write_file(folder / "token", f"{token}\n".encode())
        given = replace(given, admin_token_file=str(folder / "token"))
    if names:
        given = replace(given, admin_certificate=write_pair(folder, *names))
    return given


def write_pair(folder: Path, *names: str) -> tuple[str, str]:
    certificate = issue(*names)
    write_file(folder / "admin.crt", certificate.chain_pem)
    write_file(folder / "admin.key", certificate.key_pem)
    return str(folder / "admin.crt"), str(folder / "admin.key")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can look into; those of pytest are private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


# Who may reach the port.


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_on_loopback_nothing_is_demanded(address: str) -> None:
    refuse_strangers(Settings(), address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "203.0.113.5", "fe80::1", "::ffff:0.0.0.0", "host"])
def test_elsewhere_a_token_is_or_a_word_that_there_is_none(address: str) -> None:
    with pytest.raises(StartupError) as refused:
        refuse_strangers(Settings(), address)
    line = str(refused.value)
    assert "\n" not in line
    for word in (address, "--admin-token-file", "INGRESSD_ADMIN_TOKEN", "--admin-public"):
        assert word in line
    for allowed in (Settings(admin_public=True), Settings(admin_token=SECRET), Settings(admin_token_file="token")):
        refuse_strangers(allowed, address)


def test_a_certificate_alone_does_not_keep_strangers_out(tmp_path: Path) -> None:
    given = replace(settings(tmp_path, "", "admin.test"), admin_bind="0.0.0.0")
    with pytest.raises(StartupError, match="would be open to everybody"):
        check(given)


def test_a_port_that_is_off_demands_nothing() -> None:
    check(Settings(admin_port=OFF, admin_bind="0.0.0.0", admin_token_file="/nowhere"))


# What is read, and what is refused.


def test_without_settings_there_is_neither() -> None:
    credentials = Credentials(Settings())
    assert (credentials.token, credentials.context, credentials.changes) == (None, None, False)


def test_a_token_comes_from_the_variable_or_from_a_file(tmp_path: Path) -> None:
    assert Credentials(Settings(admin_token=SECRET)).token == Token(SECRET)
    assert Credentials(settings(tmp_path, SECRET)).token == Token(SECRET)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "an admin token is"), (b"short", "an admin token is"), (b"\xff" * 32, "not ASCII text")],
)
def test_a_token_file_without_a_token_is_one_line_that_does_not_show_it(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(StartupError) as refused:
        Credentials(Settings(admin_token_file=str(tmp_path / "token")))
    assert str(refused.value).startswith(f"--admin-token-file: {tmp_path / 'token'}: {words}")
    assert "short" not in str(refused.value)


def test_a_token_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"--admin-token-file: .*/token: No such file"):
        Credentials(Settings(admin_token_file=str(tmp_path / "token")))
    os.mkfifo(tmp_path / "token")
    with pytest.raises(StartupError, match=r"--admin-token-file: .*/token: not a file"):
        Credentials(Settings(admin_token_file=str(tmp_path / "token")))


def test_two_tokens_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="given twice") as refused:
        Credentials(replace(settings(tmp_path, SECRET), admin_token=OTHER))
    assert OTHER not in str(refused.value)


def test_a_pair_that_cannot_be_used_is_named_without_its_key(tmp_path: Path) -> None:
    chain, _ = write_pair(tmp_path, "admin.test")
    other = issue("admin.test").key_pem
    (tmp_path / "other.key").write_bytes(other)
    for key in (tmp_path / "other.key", tmp_path / "admin.crt"):
        with pytest.raises(StartupError, match="cannot be used") as refused:
            Credentials(Settings(admin_certificate=(chain, str(key))))
        assert other.decode().splitlines()[1] not in str(refused.value)
    with pytest.raises(StartupError, match=r"--admin-certificate: .*/none.key: No such file"):
        Credentials(Settings(admin_certificate=(chain, str(tmp_path / "none.key"))))


def test_an_encrypted_key_is_refused_and_the_terminal_is_not_asked(tmp_path: Path) -> None:
    chain, key = write_pair(tmp_path, "admin.test")
    from cryptography.hazmat.primitives import serialization as form

    loaded = form.load_pem_private_key(Path(key).read_bytes(), None)
    locked = form.BestAvailableEncryption(b"pass")
    Path(key).write_bytes(loaded.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked))
    with pytest.raises(StartupError, match="without a passphrase"):
        Credentials(Settings(admin_certificate=(chain, key)))


def test_the_context_is_as_strict_as_that_of_the_https_port(tmp_path: Path) -> None:
    context = Credentials(settings(tmp_path, "", "admin.test")).context
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert {cipher["aead"] for cipher in context.get_ciphers()} == {True}


# Files that change.


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_new_token_and_a_new_certificate_are_taken_over(tmp_path: Path) -> None:
    credentials = Credentials(settings(tmp_path, SECRET, "admin.test"))
    before = credentials.context
    following = asyncio.create_task(credentials.follow())
    try:
        write_file(tmp_path / "token", OTHER.encode())
        await until(lambda: credentials.token == Token(OTHER))
        write_pair(tmp_path, "admin.test")
        await until(lambda: credentials.context is not before)
    finally:
        following.cancel()


async def test_a_file_that_breaks_is_told_once_and_the_one_before_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "ingressd.admin.credentials")
    credentials = Credentials(settings(tmp_path, SECRET))
    reads = 0
    read = credentials._read

    def counted() -> None:
        nonlocal reads
        reads += 1
        read()

    credentials._read = counted  # type: ignore[method-assign]
    following = asyncio.create_task(credentials.follow())
    try:
        (tmp_path / "token").write_text("short")
        await until(lambda: caplog.records)
        seen = reads
        await until(lambda: reads > seen + 2)
        assert [record.getMessage().count("stays in use") for record in caplog.records] == [1]
        assert "short" not in caplog.text
        assert credentials.token == Token(SECRET)
    finally:
        following.cancel()


def test_secrets_that_others_can_read_are_told(open_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials(settings(open_folder, SECRET, "admin.test"))
    credentials.warn()
    assert caplog.records == []
    os.chmod(open_folder / "token", 0o644)
    os.chmod(open_folder / "admin.key", 0o640)
    os.chmod(open_folder / "admin.crt", 0o644)
    credentials.warn()
    assert [record.getMessage() for record in caplog.records] == [
        f"{open_folder / 'token'} can be read by other users (mode 0644): chmod 600 {open_folder / 'token'}",
        f"{open_folder / 'admin.key'} can be read by other users (mode 0640): chmod 600 {open_folder / 'admin.key'}",
    ]
