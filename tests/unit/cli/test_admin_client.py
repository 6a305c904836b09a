"""Questions to an admin port, put to a real server that answers as told."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from ingressd.cli.admin_client import ask_admin, read_token
from tests.unit.cli.answering import Answering

TOKEN = "a-token-of-the-tests"


def _complaint(capsys: pytest.CaptureFixture[str], url: str, token: str = "") -> str:
    with pytest.raises(typer.Exit) as end:
        ask_admin(url, "/page", token)
    assert end.value.exit_code == 2
    return capsys.readouterr().err


def test_the_answer_is_read_and_the_token_sent_only_where_there_is_one(server: Answering) -> None:
    assert ask_admin(server.url + "/", "/page") == [{"name": "web"}]
    assert ask_admin(server.url.removeprefix("http://"), "/page", TOKEN) == [{"name": "web"}]
    assert server.seen == [("/page", None), ("/page", f"Bearer {TOKEN}")]


def test_a_proxy_of_the_environment_is_not_used(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask_admin(server.url, "/page") == [{"name": "web"}]


@pytest.mark.parametrize("status", [401, 403])
def test_who_demands_a_token_is_named_with_the_way_to_give_it(
    server: Answering, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    server.status = status
    said = _complaint(capsys, server.url, TOKEN)
    assert f"{server.url} demands its token: name its file with --admin-token-file" in said
    assert TOKEN not in said


def test_a_redirect_is_not_followed(server: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    server.status, server.location = 302, f"{server.url}/elsewhere"
    assert "answers 302 to /page: is that the admin port" in _complaint(capsys, server.url, TOKEN)
    assert len(server.seen) == 1


@pytest.mark.parametrize(("status", "body"), [(404, b"[]"), (200, b"<html>"), (200, b"\xff\xfe"), (200, b"")])
def test_another_program_is_not_taken_for_ingressd(
    server: Answering, capsys: pytest.CaptureFixture[str], status: int, body: bytes
) -> None:
    server.status, server.body = status, body
    assert "is that the admin port of an ingressd?" in _complaint(capsys, server.url)


def test_where_nobody_listens_is_said(server: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    server.close()
    said = _complaint(capsys, server.url)
    assert said.startswith(f"ingressd: {server.url} cannot be asked (Connection refused)")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1", "http://127.0.0.1/a b", "http://x\n"])
def test_what_is_no_url_of_an_admin_port_is_refused(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert "not the URL of an admin port, such as http://127.0.0.1:9080" in _complaint(capsys, url)


def test_a_token_comes_from_the_file_that_is_named_before_the_environment(tmp_path: Path) -> None:
    named, other = tmp_path / "named", tmp_path / "other"
    named.write_text("from-the-file-named\n")
    other.write_text("from-the-other-file\n")
    environ = {"INGRESSD_ADMIN_TOKEN": "from-the-environment", "INGRESSD_ADMIN_TOKEN_FILE": str(other)}
    assert read_token(str(named), environ) == "from-the-file-named"
    assert read_token(None, environ) == "from-the-environment"
    assert read_token(None, {"INGRESSD_ADMIN_TOKEN_FILE": str(other)}) == "from-the-other-file"
    assert read_token(None, {}) == ""


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), (b"\xff", "not ASCII")])
def test_a_token_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(typer.Exit):
        read_token(str(file), {})
    said = capsys.readouterr().err
    assert said.startswith(f"ingressd: {file}: ")
    assert words in said
