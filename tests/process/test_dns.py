"""The DNS server of the whole program, asked by dig as docs/dns.md shows it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.console_blocks import Command, blocks
from tests.process.conftest import Launch
from tests.support.metrics import sample
from tests.support.program import PATIENCE_S, ROOT, Program, running, until
from tests.support.site import Site, replace

DOCUMENT = ROOT / "docs/dns.md"
MANIFESTS = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[0]
ONE = "--workers=1"
"""Workers take no part in it."""
RUN, *DIGS = [command for block in blocks(ROOT, DOCUMENT) for command in block.commands]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "shop.yaml").write_text(MANIFESTS)
    return folder


@pytest.fixture(scope="module")
def program(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    arguments = RUN.text.removeprefix("ingressd run ").replace("5300", "0").replace("manifests", str(folder)).split()
    with running(tmp_path_factory.mktemp("log") / "log", *arguments, ONE) as program:
        yield program


def dig(program: Program, *arguments: str) -> str:
    """What dig prints."""
    asked = subprocess.run(
        ["dig", "@127.0.0.1", "-p", str(program.port("dns")), "+noedns", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return asked.stdout


@pytest.mark.parametrize("command", DIGS, ids=str)
def test_the_commands_of_the_document_work_as_printed(program: Program, command: Command) -> None:
    text = command.text.replace("5300", str(program.port("dns")))
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done
    if "+short" in text:
        assert done.stdout.splitlines() == list(command.fragments)
    else:
        assert all(fragment in done.stdout for fragment in command.fragments), done.stdout


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_other_names_are_refused_over_both_transports(program: Program, transport: str) -> None:
    assert "status: REFUSED" in dig(program, transport, "example.com")


def test_the_status_shows_the_port(program: Program) -> None:
    assert program.api("status")["listeners"]["dns"] == program.port("dns")


def test_answers_are_counted(program: Program) -> None:
    def count() -> float:
        return sample(program, "ingressd_dns_queries_total", type="SOA", rcode="NXDOMAIN")

    dig(program, "SOA", "nobody.cluster.local")
    before = count()
    dig(program, "SOA", "nobody.cluster.local")
    assert count() == before + 1


def test_an_edit_is_told_at_once(program: Program, folder: Path) -> None:
    replace(folder / "more.yaml", MANIFESTS.replace("namespace: shop", "namespace: more"))
    until(lambda: "192.0.2.10" in dig(program, "+short", "db-0.db.more.svc.cluster.local"), "the new namespace")
    (folder / "more.yaml").unlink()
    until(lambda: "NXDOMAIN" in dig(program, "db-0.db.more.svc.cluster.local"), "the end of it")


def test_without_a_port_there_is_no_server(launch: Launch, site: Site) -> None:
    alone = launch(str(site.folder), ONE).until_ready()
    assert "dns" not in alone.api("status")["listeners"]
    assert "ingressd_dns_queries" not in alone.admin("/metrics")[1]


def test_it_goes_on_after_a_crash_and_over_an_upgrade(launch: Launch, site: Site) -> None:
    program = launch(str(site.folder), "--dns-port=0", ONE).until_ready()
    name = "site.default.svc.cluster.local"
    until(lambda: dig(program, "+short", name).split() == ["127.0.0.1"], "an answer")
    os.kill(program.pids()["controller"], signal.SIGKILL)
    until(lambda: dig(program, "+short", "+tries=1", "+time=1", name).split() == ["127.0.0.1"], "an answer again")
    program.until_ready()
    program.signal(signal.SIGUSR2)
    until(lambda: "the upgrade is over" in program.log, "the upgrade")
    for transport in ("+notcp", "+tcp"):
        assert dig(program, "+short", transport, name).split() == ["127.0.0.1"]


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_port_that_is_taken_stops_the_start_with_one_line(launch: Launch, site: Site, kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == "tcp":
            taken.listen()
        program = launch(str(site.folder), f"--dns-port={taken.getsockname()[1]}")
        assert program.wait() == 1
    (line,) = program.said.splitlines()
    assert line.startswith("ingressd: cannot listen on 127.0.0.1:")
    assert line.endswith("choose another with --dns-port)")
