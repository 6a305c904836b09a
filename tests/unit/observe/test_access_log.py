"""The access log: when lines are written, where to, and that nothing about it stops a request."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingressd.observe import log_writer
from ingressd.observe.access_log import FLUSH_BYTES, AccessLog
from tests.unit.observe.entries import Ended

ROOT = Path(__file__).parents[3]
PREAMBLE = (
    "import sys\nfrom ingressd.observe import log_writer\nfrom ingressd.observe.access_log import AccessLog\n"
    "from tests.unit.observe.entries import Ended\n"
)
PATIENT = "log_writer.CLOSE_S = 60\n"
"""For tests of what is written, on a machine that is busy."""


@pytest.fixture
def make() -> Iterator[Callable[..., AccessLog]]:
    logs: list[AccessLog] = []

    def log(path: object, log_format: str = "json") -> AccessLog:
        logs.append(AccessLog(str(path), log_format))
        return logs[-1]

    yield log
    for it in logs:
        it.close()


def _targets(path: Path) -> list[str]:
    return [json.loads(line)["target"] for line in path.read_text().splitlines()]


def _program(body: str, **streams: Any) -> subprocess.Popen[bytes]:
    """A process that logs to its standard output."""
    return subprocess.Popen([sys.executable, "-c", PREAMBLE + body], cwd=ROOT, stderr=subprocess.PIPE, **streams)


def test_without_a_loop_a_line_is_written_too(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    log = make(tmp_path / "log")
    log.write(Ended(target="/a"))
    log.write(Ended(target="/b"))
    log.close()
    assert _targets(tmp_path / "log") == ["/a", "/b"]
    assert log.dropped == 0


async def test_a_line_is_written_soon_after_its_request(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(reader, readable.set)
    try:
        make(fifo).write(Ended(target="/a"))
        async with asyncio.timeout(20):
            await readable.wait()
        assert json.loads(os.read(reader, 4096))["target"] == "/a"
    finally:
        asyncio.get_running_loop().remove_reader(reader)
        os.close(reader)


async def test_lines_that_have_gathered_do_not_wait(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    try:
        log = make(fifo)
        log.write(Ended(target="/" + "a" * FLUSH_BYTES))
        # The loop is not run here: what is read was handed on by `write` itself.
        assert os.read(reader, 100).startswith(b'{"time":')
        while not os.read(reader, 65536).endswith(b"\n"):
            pass
    finally:
        os.close(reader)


def test_off_writes_nothing_and_starts_no_thread(make: Callable[..., AccessLog]) -> None:
    before = threading.active_count()
    log = make("off")
    log.write(Ended())
    log.flush()
    log.reopen()
    assert threading.active_count() == before
    assert log.dropped == 0


def test_lines_are_added_to_a_file_that_is_there(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"target":"/before"}\n')
    log = make(tmp_path / "log")
    log.write(Ended(target="/after"))
    log.close()
    assert _targets(tmp_path / "log") == ["/before", "/after"]


@pytest.mark.parametrize("start_first", [True, False])
async def test_after_a_rotation_new_lines_go_to_the_new_file(
    make: Callable[..., AccessLog], tmp_path: Path, start_first: bool
) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    log = make(path)
    if start_first:
        log.write(Ended(target="/flushed"))
        log.flush()
    log.write(Ended(target="/gathered"))
    path.rename(old)
    log.reopen()
    log.write(Ended(target="/new"))
    log.close()
    assert _targets(old) == (["/flushed", "/gathered"] if start_first else ["/gathered"])
    assert _targets(path) == ["/new"]


def test_a_rotation_that_fails_goes_on_in_the_old_file(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    log = make(path)
    path.parent.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError) as raised:
        log.reopen()
    assert raised.value.filename == str(path)
    log.write(Ended(target="/still"))
    log.close()
    assert _targets(tmp_path / "moved" / "log") == ["/still"]


def test_a_file_that_cannot_be_opened_is_named(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        make(tmp_path / "missing" / "log")
    assert raised.value.filename == f"{tmp_path}/missing/log"
    with pytest.raises(IsADirectoryError):
        make(tmp_path)


def test_a_named_pipe_that_nobody_reads_is_refused_at_once(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device or address") as raised:
        make(tmp_path / "fifo")
    assert raised.value.filename == f"{tmp_path}/fifo"


def test_a_log_file_is_not_readable_by_everybody(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    make(tmp_path / "log")
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_a_full_disk_costs_the_lines_alone(make: Callable[..., AccessLog]) -> None:
    log = make("/dev/full")
    for _ in range(5):
        log.write(Ended())
    log.close()
    assert log.dropped == 5


def test_a_line_that_a_full_disk_tore_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    body = PATIENT + (
        "import os, resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "log = AccessLog(sys.argv[1], 'json')\n"
        "for number in range(5): log.write(Ended(target=f'/{number}'))\n"
        "while log.dropped < 4: os.sched_yield()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.write(Ended(target='/after'))\nlog.close(); print(log.dropped)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + body, tmp_path / "log"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.stdout) == (b"", b"4\n")
    first, torn, last = (tmp_path / "log").read_text().splitlines()
    assert json.loads(first)["target"] == "/0"
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)
    assert json.loads(last)["target"] == "/after"


async def test_a_reader_that_is_stuck_stops_neither_the_loop_nor_the_end(
    make: Callable[..., AccessLog], tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = make(fifo)
        entry = Ended(target="/" + "a" * 1000)
        lines = 2 * log_writer.QUEUE_BYTES // 1000
        for _ in range(lines):
            log.write(entry)
        log.close()
        assert 0 < log.dropped < lines
    finally:
        os.close(reader)


def test_a_reader_that_wakes_up_gets_whole_lines(
    make: Callable[..., AccessLog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "CLOSE_S", 60.0)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    log = make(fifo)
    count = 2 * log_writer.QUEUE_BYTES // 1000
    for number in range(count):
        log.write(Ended(target=f"/{number}", user_agent="a" * 1000))
    received = bytearray()

    def read() -> None:
        while piece := os.read(reader, 1 << 20):
            received.extend(piece)

    thread = threading.Thread(target=read)
    thread.start()
    log.close()
    thread.join(20)
    os.close(reader)
    numbers = [int(json.loads(line)["target"][1:]) for line in received.splitlines()]
    assert numbers == sorted(numbers)
    assert len(numbers) + log.dropped == count
    assert log.dropped > 0


def test_a_reader_that_goes_away_costs_lines_alone(make: Callable[..., AccessLog], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = make(fifo)
    os.close(reader)
    log.write(Ended())
    log.close()
    assert log.dropped == 1


def test_standard_output_gets_the_lines() -> None:
    with _program("log = AccessLog('-', 'json'); log.write(Ended()); log.close()", stdout=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["target"] == "/cart?id=42"


def test_lines_of_several_processes_on_one_pipe_are_not_torn() -> None:
    body = PATIENT + (
        "log = AccessLog('-', 'json')\n"
        "for number in range(2000): log.write(Ended(target=f'/{number}', user_agent='a' * (number % 700)))\n"
        "log.close(); sys.exit(log.dropped)\n"
    )
    read, write = os.pipe()
    processes = [_program(body, stdout=write) for _ in range(3)]
    os.close(write)
    with open(read, "rb") as file:
        targets = [json.loads(line)["target"] for line in file]
    for process in processes:
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0
    assert sorted(targets) == sorted(f"/{number}" for number in range(2000) for _ in processes)


def test_standard_output_that_nobody_reads_does_not_keep_the_process() -> None:
    body = (
        "log = AccessLog('-', 'json')\n"
        "for number in range(20000): log.write(Ended(user_agent='a' * 1000))\n"
        "log.close(); sys.exit(3 if log.dropped else 4)\n"
    )
    with _program(body, stdout=subprocess.PIPE) as process:
        assert process.wait(60) == 3
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_the_flags_of_standard_output_stay_as_they_are() -> None:
    body = (
        "import os\nbefore = os.get_blocking(1)\nlog = AccessLog('-', 'json'); log.write(Ended())\n"
        "during = os.get_blocking(1)\nlog.close()\nprint(before, during, os.get_blocking(1), file=sys.stderr)"
    )
    with _program(body, stdout=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[1] == b"True True True\n"


def test_standard_output_that_another_process_made_non_blocking_loses_nothing() -> None:
    body = PATIENT + (
        "log = AccessLog('-', 'json')\n"
        "for number in range(500): log.write(Ended(user_agent='a' * 1000))\n"
        "print('written', file=sys.stderr, flush=True)\n"
        "log.close(); sys.exit(log.dropped)\n"
    )
    read, write = os.pipe()
    os.set_blocking(write, False)
    process = _program(body, stdout=write)
    os.close(write)
    assert process.stderr is not None
    assert process.stderr.readline() == b"written\n"
    with open(read, "rb") as file:
        assert len(file.readlines()) == 500
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0


def test_a_descriptor_that_took_the_place_of_a_closed_standard_output_is_left_alone() -> None:
    body = (
        "import socket\none, other = socket.socketpair()\nassert 1 in (one.fileno(), other.fileno())\n"
        "log = AccessLog('-', 'json'); log.write(Ended()); log.close()\n"
        "one.setblocking(False); other.setblocking(False)\n"
        "for end in (one, other):\n"
        "    try: print(end.recv(1), file=sys.stderr)\n"
        "    except BlockingIOError: pass\n"
    )
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", PREAMBLE + body]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_closing_twice_is_fine_and_later_lines_are_counted_as_lost(
    make: Callable[..., AccessLog], tmp_path: Path
) -> None:
    log = make(tmp_path / "log")
    log.write(Ended())
    log.close()
    log.write(Ended())
    log.close()
    assert len(_targets(tmp_path / "log")) == 1
    assert log.dropped == 1
