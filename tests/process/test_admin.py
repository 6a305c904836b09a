"""The admin port of the whole program: who may ask it, and where its token does not show."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingressd.sources.certificate_files import write_file
from tests.process.conftest import Launch
from tests.support.certificates import issue, trusting
from tests.support.program import PATIENCE_S, ROOT, Program, start, until
from tests.support.site import Site

SECRET = "a-secret-of-the-tests-0123456789"
OTHER = "another-secret-of-the-tests-9876"


def ask(
    program: Program, path: str, token: str = "", host: str = "localhost", context: ssl.SSLContext | None = None
) -> int:
    """The status of a GET."""
    port = program.port("admin")
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=context)
    try:
        connection.request(
            "GET", path, headers={"Host": host, **({"Authorization": f"Bearer {token}"} if token else {})}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def until_ready(program: Program, context: ssl.SSLContext | None = None) -> None:
    until(lambda: ask(program, "/readyz", context=context) == 200, "readiness")


def descendants(pid: int) -> list[int]:
    """A process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in descendants(int(child)))]


def refused(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """What `ingressd run` says when it does not even begin."""
    ended = subprocess.run(
        [sys.executable, "-m", "ingressd", "run", "examples", "--http-port=0", "--https-port=off", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    return ended.stderr


# Who may ask.


def test_beyond_loopback_it_demands_a_token_or_a_word_that_there_is_none() -> None:
    assert refused("--admin-bind=0.0.0.0").splitlines() == [
        "ingressd: the admin port would be open to everybody who reaches 0.0.0.0:"
        " give it a token with --admin-token-file FILE (or INGRESSD_ADMIN_TOKEN),"
        " or say --admin-public if something else keeps strangers out"
    ]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Open beyond loopback, with a token."""
    folder = tmp_path_factory.mktemp("guarded")
    arguments = (str(Site(folder / "site").folder), "--admin-bind=0.0.0.0", "--log-level=debug")
    program = start(folder / "log", *arguments, environ={"INGRESSD_ADMIN_TOKEN": SECRET})
    try:
        until_ready(program)
        yield program
    finally:
        program.kill()


@pytest.fixture
def public(launch: Launch, site: Site) -> Program:
    """Open beyond loopback, without a token."""
    environ = {"INGRESSD_ADMIN_PUBLIC": "true"}
    program = launch(str(site.folder), "--admin-bind=0.0.0.0", "--workers=1", environ=environ)
    until_ready(program)
    return program


@pytest.mark.parametrize("way", ["public", "guarded"])
def test_each_way_out_leads_out(request: pytest.FixtureRequest, way: str) -> None:
    program = request.getfixturevalue(way)
    assert ask(program, "/api/v1/status") == (401 if way == "guarded" else 200)
    assert ask(program, "/api/v1/status", SECRET) == 200
    assert ask(program, "/api/v1/status", host="evil.example") == (401 if way == "guarded" else 403)


def test_a_socket_of_a_service_manager_is_looked_at_too(site: Site) -> None:
    script = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='admin')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'ingressd', 'run', *sys.argv[2:]])\n"
    )
    with socket.create_server(("0.0.0.0", 0)) as sock:
        ended = subprocess.run(
            [sys.executable, "-c", script, str(sock.fileno()), str(site.folder), "--http-port=off", "--https-port=off"],
            cwd=ROOT,
            pass_fds=[sock.fileno()],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert ended.returncode == 1
    assert "would be open to everybody who reaches 0.0.0.0" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_token_file_is_followed(launch: Launch, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "token"
    write_file(file, f"{SECRET}\n".encode())
    program = launch(str(site.folder), f"--admin-token-file={file}", "--poll-interval=0.05", "--workers=1")
    until_ready(program)
    assert [ask(program, "/metrics", token) for token in ("", OTHER, SECRET)] == [401, 401, 200]
    write_file(file, OTHER.encode())
    until(lambda: ask(program, "/metrics", OTHER) == 200, "the new token")
    assert ask(program, "/metrics", SECRET) == 401


def test_with_a_certificate_it_speaks_https(launch: Launch, site: Site, tmp_path: Path) -> None:
    pair = issue("localhost")
    write_file(tmp_path / "admin.crt", pair.chain_pem)
    write_file(tmp_path / "admin.key", pair.key_pem)
    pem = f"{tmp_path}/admin.crt:{tmp_path}/admin.key"
    program = launch(str(site.folder), f"--admin-certificate={pem}", "--workers=1")
    until_ready(program, trusting())
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(program, "/healthz")


# Mistakes are one line, before anything is started.


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["--admin-token-file=/nowhere/token"], {}, "--admin-token-file: /nowhere/token: No such file or directory"),
        (["--admin-certificate=/nowhere/a:/nowhere/b"], {}, "--admin-certificate: /nowhere/a: No such file"),
        ([], {"INGRESSD_ADMIN_TOKEN": "short-one"}, "INGRESSD_ADMIN_TOKEN: an admin token is 16 to 4096 letters"),
        ([], {"INGRESSD_ADMIN_TOKEN": ""}, "INGRESSD_ADMIN_TOKEN: an admin token is 16 to 4096 letters"),
        (["--admin-token=" + SECRET], {}, "no such option: --admin-token"),
    ],
)
def test_a_mistake_is_one_line_without_the_token(arguments: list[str], environ: dict[str, str], words: str) -> None:
    said = refused(*arguments, environ=environ)
    assert len(said.splitlines()) == 1
    assert words.lower() in said.lower()
    assert "short-one" not in said
    assert SECRET not in said


def test_a_settings_file_is_no_place_for_a_token(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(f"admin_token: {SECRET}\n")
    said = refused(f"--settings={tmp_path}/settings.yaml")
    assert "settings.yaml:1:1: there is no setting admin_token (did you mean admin_token_file?)" in said
    assert SECRET not in said


# Where the token does not show.


def test_no_process_shows_the_token_in_its_arguments_or_its_environment(guarded: Program) -> None:
    program = guarded
    assert ask(program, "/api/v1/status", OTHER) == 401
    assert ask(program, "/api/v1/status", SECRET) == 200
    family = descendants(program.process.pid)
    assert len(family) == 4  # the supervisor, the controller, two workers
    for pid in family:
        for what in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{pid}/{what}").read_bytes()
    assert SECRET not in program.log
    assert OTHER not in program.log
    assert "refused a wrong token from 127.0.0.1" in program.log


def test_a_new_controller_still_demands_the_token(guarded: Program) -> None:
    program = guarded
    supervisor, *children = descendants(program.process.pid)
    controller = next(
        pid for pid in children if b"ingressd.process.controller" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(controller, 9)
    until(lambda: controller not in descendants(supervisor), "the end of the controller")
    until_ready(program)
    assert [ask(program, "/api/v1/routes", token) for token in ("", SECRET)] == [401, 200]


# What the data ports cannot reach.


def test_the_data_port_has_no_admin_pages(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder), "--workers=1").until_ready()
    for path in ("/healthz", "/readyz", "/metrics", "/api/v1/routes"):
        assert program.get(path, "localhost") == (404, program.get("/", "localhost")[1])


def test_a_route_to_the_admin_port_leads_nowhere_and_is_a_fault(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder), "--workers=1").until_ready()
    generation = program.generation

    class Admin:
        port = program.port("admin")

    site.route("shop.example.com", Admin, file="admin.yaml")
    program.until_served(generation + 1)
    assert program.get("/api/v1/routes", "shop.example.com") == (
        503,
        "503 Service Unavailable: no endpoint is ready\n",
    )
    assert "endpoint_admin" in {fault["code"] for fault in program.api("faults")}
