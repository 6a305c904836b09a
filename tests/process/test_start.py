"""How the program starts, and how it says that it cannot: one clear line, exit code 1, nothing left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Backend, Launch
from tests.support.program import ROOT, Program, running, until
from tests.support.site import Site

ONE = "--workers=1"
"""What is asked here does not hang on how many there are."""


@pytest.mark.parametrize("purpose", ["http", "admin"])
def test_a_busy_port_is_one_clear_line(launch: Launch, site: Site, purpose: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        program = launch(str(site.folder), f"--{purpose}-port={port}")
        assert program.wait() == 1
    lines = program.log.splitlines()
    assert lines == [
        f"ingressd: cannot listen on 127.0.0.1:{port}: address already in use"
        f" (another program has this port: stop it, or choose another with --{purpose}-port)"
    ]


def test_strict_refuses_faulty_manifests_with_their_places(launch: Launch, site: Site) -> None:
    (site.folder / "broken.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: broken}\n"
        "spec: {rules: [{host: Not_A_Host, http: {paths: [{path: /, pathType: Prefix, backend: {service: "
        "{name: x, port: {number: 80}}}}]}}]}\n"
    )
    program = launch(str(site.folder), "--strict", ONE)
    assert program.wait() == 1
    assert "ingressd: the manifests have 1 error, and --strict refuses it:" in program.log
    assert "broken.yaml:4:" in program.log
    assert "Traceback" not in program.log


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """It was started with one manifest that is served and one that is broken."""
    folder = tmp_path_factory.mktemp("lenient")
    backend, site = Backend("one"), Site(folder / "site")
    site.route("a.localhost", backend)
    site.write("broken.yaml", "kind: [\n")
    try:
        with running(folder / "log", str(site.folder)) as program:
            yield program
    finally:
        backend.close()


def test_without_strict_the_rest_is_served(lenient: Program) -> None:
    assert lenient.get() == (200, "one")
    errors = [Path(fault["file"]).name for fault in lenient.api("faults") if fault["severity"] == "error"]
    assert errors == ["broken.yaml"]


def test_a_second_ingressd_on_the_same_port_is_refused(lenient: Program, launch: Launch, site: Site) -> None:
    second = launch(str(site.folder), f"--http-port={lenient.port('http')}")
    assert second.wait() == 1
    assert "address already in use" in second.log
    assert lenient.get() == (200, "one")


def test_an_access_log_that_cannot_be_written_is_one_clear_line(launch: Launch, site: Site, tmp_path: Path) -> None:
    program = launch(str(site.folder), f"--access-log={tmp_path}/missing/access.log", ONE)
    assert program.wait() == 1
    assert f"cannot write the access log {tmp_path}/missing/access.log: No such file or directory" in program.log
    assert "Traceback" not in program.log


def test_data_ports_that_are_off_are_not_listed(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder), "--http-port=off", ONE).until_ready()
    assert program.api("status")["listeners"] == {"admin": program.port("admin")}


def test_ipv6_is_served(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder), "--bind=::1", ONE).until_ready()
    with socket.create_connection(("::1", program.port("http"))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"one")


def test_sockets_of_a_service_manager_are_used(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as admin:
        ports = http.getsockname()[1], admin.getsockname()[1]
        script = (
            "import os, sys\n"
            "a, b = int(sys.argv[1]), int(sys.argv[2])\n"
            "a, b = os.dup(a), os.dup(b)\n"
            "os.dup2(a, 3); os.dup2(b, 4)\n"
            "os.set_inheritable(3, True); os.set_inheritable(4, True)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='http:admin')\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'ingressd', 'run', *sys.argv[3:]])\n"
        )
        arguments = [str(site.folder), "--https-port=off", "--workers=2"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(http.fileno()), str(admin.fileno()), *arguments],
                cwd=ROOT,
                pass_fds=(http.fileno(), admin.fileno()),
                stdout=file,
                stderr=file,
            )
    try:
        until(lambda: f"http=127.0.0.1:{ports[0]} admin=127.0.0.1:{ports[1]}" in log.read_text(), "the passed ports")
        with socket.create_connection(("127.0.0.1", ports[0])) as client:
            client.settimeout(30)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().endswith(b"one")
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def test_the_supervisor_imports_the_standard_library_only() -> None:
    script = (
        "import sys\n"
        "import ingressd.process.supervisor\n"
        "import sysconfig\n"
        "for name in sorted(sys.modules):\n"
        "    if name.split('.')[0] not in sys.stdlib_module_names:\n"
        "        print(name)\n"
    )
    listed = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split() if name != "__main__"]
    assert set(names) == {
        "ingressd",
        "ingressd.collector",
        "ingressd.errors",
        "ingressd.observe",
        "ingressd.observe.program_log",
        "ingressd.process",
        "ingressd.process.channel",
        "ingressd.process.child",
        "ingressd.process.crew",
        "ingressd.process.handover",
        "ingressd.process.listeners",
        "ingressd.process.pid_file",
        "ingressd.process.privilege",
        "ingressd.process.pulse",
        "ingressd.process.successor",
        "ingressd.process.supervisor",
        "ingressd.settings",
    }


def test_a_worker_imports_nothing_that_it_needs_for_some_manifests_only() -> None:
    script = "import sys, ingressd.process.worker\nprint(*sys.modules)"
    listed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in listed.stdout.split()}
    assert "aiohttp" in packages
    assert (
        packages & {"cryptography", "dns", "jwt", "passlib", "prometheus_client", "pydantic", "typer", "yaml"} == set()
    )
