"""What the processes say: lines that cannot be forged, and a standard error that stops nobody."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingressd.observe import program_log
from ingressd.observe.program_log import JsonFormatter, LineHandler, TextFormatter

ROOT = Path(__file__).parents[3]
PREAMBLE = (
    "import logging, os, sys\nfrom ingressd.observe import program_log\n"
    "program_log.configure(*sys.argv[1:3])\nlog = logging.getLogger('ingressd.reload')\n"
)
HOSTILE = "one\r\ntwo\x1b[31m\x00\x7f\x85\u2028\ud800"


def _run(body: str, *arguments: str) -> str:
    """Standard error of a process that logs."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + body, *(arguments or ("info", "auto"))],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return done.stderr.decode()


def _record(message: str, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    fields = {"name": "x", "levelno": 20, "levelname": "INFO", "msg": message, "args": arguments, "exc_info": exc_info}
    return logging.makeLogRecord(fields)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def test_text_is_one_line_with_time_level_and_logger() -> None:
    line = _run("log.warning('served %d', 7)", "info", "text")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING ingressd\.reload: served 7\n", line)


def test_json_is_one_object_a_line() -> None:
    first, second = _run("log.warning('served %d', 7)\nlog.error('x')", "info", "json").splitlines()
    fields = json.loads(first)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert isinstance(fields.pop("pid"), int)
    assert fields == {"level": "warning", "logger": "ingressd.reload", "message": "served 7"}
    assert json.loads(second)["level"] == "error"


def test_auto_is_json_in_a_pipe() -> None:
    assert json.loads(_run("log.info('hello')"))["message"] == "hello"


def test_auto_is_text_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PREAMBLE + "log.info('hello')", "info", "auto"]
    subprocess.run(command, cwd=ROOT, stderr=theirs, timeout=60, check=True)
    os.close(theirs)
    line = os.read(ours, 4096)
    os.close(ours)
    assert line.endswith(b" INFO    ingressd.reload: hello\r\n")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_what_is_below_the_level_is_left_out(level: str, count: int) -> None:
    body = "log.debug('a'); log.info('b'); log.warning('c'); log.error('d')"
    assert len(_run(body, level, "json").splitlines()) == count


def test_configuring_again_replaces_what_was() -> None:
    assert len(_run("program_log.configure('info', 'json'); log.info('once')").splitlines()) == 1


def test_a_message_cannot_forge_a_line_in_text() -> None:
    line = TextFormatter().format(_record("%s", HOSTILE))
    assert line.encode("utf-8", "backslashreplace").decode().isprintable()
    assert line.endswith(r"x: one\r\ntwo\x1b[31m\x00\x7f\x85\u2028" + "\ud800")


def test_a_message_comes_back_from_json_as_it_was() -> None:
    line = JsonFormatter().format(_record("%s", HOSTILE))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == HOSTILE


def test_hostile_messages_reach_standard_error() -> None:
    assert json.loads(_run(f"log.info({HOSTILE!a})"))["message"] == HOSTILE
    assert _run(f"log.info({HOSTILE!a})", "info", "text").count("\n") == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_exception_is_told_with_its_traceback(log_format: str) -> None:
    body = "try: 1 / 0\nexcept ZeroDivisionError: log.exception('it failed')"
    lines = _run(body, "info", log_format).splitlines()
    if log_format == "json":
        (line,) = lines
        lines = json.loads(line)["exception"].splitlines()
    else:
        assert lines[0].endswith("ERROR   ingressd.reload: it failed")
        assert all(line.startswith("    ") for line in lines[1:])
    assert "Traceback (most recent call last):" in lines[0] + lines[1]
    assert lines[-1].endswith("ZeroDivisionError: division by zero")


def test_the_text_of_an_exception_cannot_forge_a_line() -> None:
    body = "try: raise ValueError('x\\r\\n2030-01-01 ERROR y\\x1b[2J')\nexcept ValueError: log.exception('it failed')"
    text = _run(body, "info", "text")
    assert "\r" not in text
    assert "\x1b" not in text
    assert all(line.startswith("    ") for line in text.splitlines()[1:])


def test_a_record_that_cannot_be_formatted_is_told_by_its_place() -> None:
    line = _run("log.info('%d', 'x')\nlog.info('after')", "info", "json").splitlines()
    assert re.fullmatch(r"a log record of .*:5 could not be formatted", json.loads(line[0])["message"])
    assert json.loads(line[1])["message"] == "after"


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_standard_error_that_is_closed_or_full_stops_nobody(redirection: str) -> None:
    body = "for _ in range(100): log.error('x')\nprint('done')"
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", PREAMBLE + body, "info", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout == b"done\n"


def test_a_descriptor_that_took_the_place_of_a_closed_standard_error_is_left_alone() -> None:
    body = (
        "read, write = os.pipe()\nassert 2 in (read, write)\nlog.error('x')\nos.close(write)\nprint(os.read(read, 9))"
    )
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", PREAMBLE + body, "info", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout == b"b''\n"


def test_standard_error_that_nobody_reads_stops_nobody(pipe: tuple[int, int]) -> None:
    read, write = pipe
    body = (
        "for _ in range(2000): log.error('x' * 100)\n"
        "dropped = logging.getLogger().handlers[0].dropped\nsys.stdout.write(f'{dropped} {os.get_blocking(2)}')"
    )
    command = [sys.executable, "-c", PREAMBLE + body, "info", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=write, timeout=60, check=True)
    dropped, blocking = done.stdout.split()
    os.set_blocking(read, False)
    lines = os.read(read, 1 << 20).splitlines()
    assert all(json.loads(line)["message"] == "x" * 100 for line in lines)
    assert len(lines) + int(dropped) == 2000
    assert blocking == b"True"


def test_a_pipe_of_another_user_is_written_to_without_waiting_too(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = pipe

    def refused(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(program_log.os, "open", refused)
        handler = LineHandler(write)
    for _ in range(2000):
        handler.emit(_record("x" * 100))
    os.set_blocking(read, False)
    lines = os.read(read, 1 << 20).splitlines()
    assert len(lines) > 0
    assert len(lines) + handler.dropped == 2000
    handler.close()


def test_a_reader_that_wakes_up_is_told_what_it_missed(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.set_blocking(read, False)
    handler = LineHandler(write)
    while not handler.dropped:
        handler.emit(_record("x" * 10_000))
    handler.emit(_record("lost"))
    received = os.read(read, 1 << 20)
    handler.emit(_record("heard"))
    received += os.read(read, 1 << 20)
    handler.close()
    lines = received.decode().splitlines()
    assert all(line == "x" * 10_000 for line in lines[:-2])
    assert lines[-2:] == ["2 log records before this one were lost: standard error took no more", "heard"]


def test_a_socket_as_standard_error_is_written_to_without_waiting() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        handler = LineHandler(theirs.fileno())
        handler.emit(_record("hello"))
        assert ours.recv(100) == b"hello\n"
        while not handler.dropped:
            handler.emit(_record("x" * 10_000))
        assert os.get_blocking(theirs.fileno())
        handler.close()


def test_after_the_end_nothing_is_written(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.set_blocking(read, False)
    handler = LineHandler(write)
    handler.close()
    handler.close()
    handler.emit(_record("late"))
    assert handler.dropped == 1
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
