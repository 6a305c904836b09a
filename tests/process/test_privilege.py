"""Rights: root opens the ports, an account without rights does the rest, and no process holds more than it needs."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Backend, Launch
from tests.support import site as manifests
from tests.support.certificates import issue, trusting
from tests.support.program import ROOT, Program, until
from tests.support.site import Site

_NOBODY = pwd.getpwnam("nobody")
_DAEMON = pwd.getpwnam("daemon")

_READER = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--securebits=+no_setuid_fixup")
"""Lets any account read the interpreter and the checkout, wherever they are: below /root as likely as not."""

_AS_NOBODY = (f"--reuid={_NOBODY.pw_uid}", f"--regid={_NOBODY.pw_gid}", "--clear-groups")


class RootProgram(Program):
    """Started as root, with arguments for setpriv(1)."""

    def __init__(self, log: Path, arguments: list[str], *privileges: str) -> None:
        assert os.geteuid() == 0, "these tests need root: they are about giving it up"
        self._log = log
        self._ports = {}
        given = ["--bind=127.0.0.1", "--https-port=off", "--admin-port=0", "--workers=2", "--log-format=text"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                ["setpriv", *_READER, *privileges, sys.executable, "-m", "ingressd", "run", *given, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )


Start = Callable[..., RootProgram]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    programs: list[RootProgram] = []

    def started(*arguments: str, privileges: tuple[str, ...] = ()) -> RootProgram:
        programs.append(RootProgram(tmp_path / f"log-{len(programs)}", list(arguments), *privileges))
        return programs[-1]

    yield started
    for program in programs:
        program.kill()


def _low_port() -> int:
    """One that only root may open, as far as the system has such ports."""
    for port in range(1023, 600, -1):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port below 1024 is taken")


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


def _everybody(program: Program) -> list[int]:
    pids = program.pids()
    return [pids["supervisor"], pids["controller"], *pids["workers"]]


def test_every_process_becomes_the_user_once_the_ports_are_open(start: Start, site: Site, tmp_path: Path) -> None:
    port, log, state, pid_file = _low_port(), tmp_path / "access.log", tmp_path / "state", tmp_path / "pid"
    program = start(
        str(site.folder),
        "--user=nobody",
        f"--http-port={port}",
        f"--access-log={log}",
        f"--state-dir={state}",
        f"--pid-file={pid_file}",
    ).until_ready()
    before = _everybody(program)
    for times in (1, 2):
        for pid in _everybody(program):
            status = _status(pid)
            assert status["Uid"] == " ".join([str(_NOBODY.pw_uid)] * 4)
            assert status["Gid"] == " ".join([str(_NOBODY.pw_gid)] * 4)
            assert set(status["Groups"].split()) == {str(gid) for gid in os.getgrouplist("nobody", _NOBODY.pw_gid)}
            assert status["NoNewPrivs"] == "1"
        assert program.get(f"/{times}") == (200, "one")
        until(lambda times=times: f"/{times}" in log.read_text(), "a line in the access log")
        if times == 1:
            program.signal(signal.SIGUSR2)
            until(lambda: "the upgrade is over" in program.log, "an upgrade")
    assert not set(before[1:]) & set(_everybody(program))
    assert log.stat().st_uid == state.stat().st_uid == _NOBODY.pw_uid
    assert log.stat().st_mode & 0o777 == 0o640
    assert state.stat().st_mode & 0o777 == 0o700
    assert pid_file.read_text() == f"{program.process.pid}\n"
    program.signal(signal.SIGTERM)
    assert program.wait() == 0, program.log
    assert pid_file.read_text() == "", "the folder is root's: the file cannot be removed"
    assert "Traceback" not in program.log


def test_a_group_may_be_named_and_names_may_be_numbers(start: Start, site: Site) -> None:
    user = f"{_NOBODY.pw_uid}:daemon"
    program = start(str(site.folder), f"--user={user}", "--http-port=0", "--access-log=off").until_ready()
    for pid in _everybody(program):
        status = _status(pid)
        assert status["Uid"].split()[0] == str(_NOBODY.pw_uid)
        assert (status["Gid"].split()[0], status["Groups"]) == (str(_DAEMON.pw_gid), str(_DAEMON.pw_gid))


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("no-such-user", "there is no user no-such-user"),
        ("nobody:no-such-group", "there is no group no-such-group"),
        ("4242", "no user has this number: name its group too, as 4242:4242"),
        ("root", "cannot become this user: Operation not permitted (start as root, or without --user)"),
    ],
)
def test_a_user_that_it_cannot_become_is_one_clear_line(start: Start, site: Site, user: str, reason: str) -> None:
    program = start(
        str(site.folder), f"--user={user}", "--http-port=0", privileges=_AS_NOBODY if user == "root" else ()
    )
    assert program.wait() == 1
    assert program.log == f"ingressd: --user {user}: {reason}\n"


def test_without_root_the_user_may_be_who_started_it(start: Start, site: Site) -> None:
    program = start(str(site.folder), "--user=nobody", "--http-port=0", "--access-log=off", privileges=_AS_NOBODY)
    assert program.until_ready().get() == (200, "one")


# What a process holds.


LIMITS_MEMORY = "/memfd:ingressd-limits (deleted)"


def test_workers_hold_no_key_file_and_nobody_dumps_core(
    launch: Launch, site: Site, backend: Backend, tmp_path: Path
) -> None:
    pair = issue("files.localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(pair.chain_pem)
    key.write_bytes(pair.key_pem)
    secret = issue("tls.localhost")
    text = manifests.routed("tls", "tls.localhost", backend.port, secret="tls")
    site.write("tls.yaml", f"{text}---\n{manifests.secret('tls', secret)}")
    access = tmp_path / "access.log"
    program = launch(
        str(site.folder), "--https-port=0", f"--certificate={chain}:{key}", f"--access-log={access}"
    ).until_ready()
    for host in ("tls.localhost", "files.localhost"):
        with (
            socket.create_connection(("127.0.0.1", program.port("https"))) as sock,
            trusting().wrap_socket(sock, server_hostname=host) as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
            assert client.recv(12) == b"HTTP/1.1 200" if host == "tls.localhost" else b"HTTP/1.1 404"
            assert isinstance(client, ssl.SSLSocket)
    for pid in program.pids()["workers"]:
        files = _open_files(pid)
        # What clients use of their limits is counted in memory that all workers share.
        assert files - {LIMITS_MEMORY} <= {os.devnull, str(access), str(tmp_path / "log-0")}
        assert str(access) in files
    for pid in _everybody(program):
        assert {file for file in _open_files(pid) if "memfd" in file} <= {LIMITS_MEMORY}
        limits = Path(f"/proc/{pid}/limits").read_text()
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]


def _open_files(pid: int) -> set[str]:
    """All that is open and no socket, pipe or event descriptor."""
    names = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(os.readlink(each))
    return {name for name in names if not name.startswith(("socket:", "pipe:", "anon_inode:"))}
