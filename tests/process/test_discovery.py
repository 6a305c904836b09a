"""Endpoints that are not in the files, in the whole program: DNS, lists, a plug-in, names of elsewhere."""

from __future__ import annotations

import asyncio
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dns.rcode import Rcode

from tests.support import site as manifests
from tests.support.dns_server import DnsServer, dns_server
from tests.support.program import ROOT, Answer, Program, running, until
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("discovery")

PLUGIN = ROOT / "examples" / "discovery-plugin"


@contextmanager
def addresses(*hosts: str) -> Iterator[int]:
    """A port on which each of these addresses of loopback answers with itself."""

    class Itself(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.connection.getsockname()[0].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    servers: list[http.server.ThreadingHTTPServer] = []
    for host in hosts:
        port = servers[0].server_address[1] if servers else 0
        servers.append(http.server.ThreadingHTTPServer((host, int(port)), Itself))
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    try:
        yield int(servers[0].server_address[1])
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


FIRST, SECOND = "127.0.0.1", "127.0.0.2"


def answering(program: Program, host: str) -> set[Answer]:
    """Who answers for a host; both workers take their turns."""
    return {program.get(host=host) for _ in range(20)}


def problem_of(program: Program, name: str) -> str:
    (service,) = [service for service in program.api("services") if service["name"] == name]
    return str(service["pools"][0]["problem"])


class Named:
    """A program that asks our name server."""

    def __init__(self, program: Program, site: Site, names: DnsServer, port: int) -> None:
        self.program = program
        self.site = site
        self.names = names
        self.port = port

    def service(self, name: str, **annotations: str) -> None:
        """A route for NAME.localhost to the Service NAME, without endpoints."""
        noted = {f"ingressd.dev/{key}": value for key, value in annotations.items()}
        text = manifests.ingress(name, f"{name}.localhost")
        self.site.write(f"{name}.yaml", f"{text}---\n{manifests.service(name, self.port, annotations=noted)}")

    def external(self, name: str, target: str) -> None:
        """A route for NAME.localhost to a Service that is another name for `target`."""
        service = (
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
            f"spec: {{type: ExternalName, externalName: {target}, ports: [{{port: 80}}]}}\n"
        )
        text = manifests.ingress(name, f"{name}.localhost").replace("number: 80", f"number: {self.port}")
        self.site.write(f"{name}.yaml", f"{text}---\n{service.replace('port: 80', f'port: {self.port}')}")

    async def until(self, host: str, *bodies: str) -> None:
        """Exactly these answer."""
        expected = {(200, body) for body in bodies}
        what = f"{bodies} to answer for {host}"
        await asyncio.to_thread(until, lambda: answering(self.program, host) == expected, what)

    async def until_refused(self, host: str) -> None:
        """503, by every worker."""

        def refused() -> bool:
            return {status for status, _ in answering(self.program, host)} == {503}

        await asyncio.to_thread(until, refused, f"503 for {host}")


@pytest.fixture
async def named(tmp_path: Path) -> AsyncIterator[Named]:
    site = Site(tmp_path / "site")
    async with dns_server() as names:
        with addresses(FIRST, SECOND) as port:
            options = [f"--dns-servers={names.address}", "--external-name-allow=127.0.0.1/32", "--access-log=off"]
            starting = running(tmp_path / "log", str(site.folder), *options)
            program = await asyncio.to_thread(starting.__enter__)
            try:
                yield Named(program, site, names, port)
            finally:
                await asyncio.to_thread(starting.__exit__, *sys.exc_info())


async def test_a_service_without_slices_is_found_by_its_name_and_followed(named: Named) -> None:
    named.names.add("shop.", "A", FIRST, ttl=1)
    named.service("shop")
    await named.until("shop.localhost", FIRST)
    generation = named.program.generation
    named.names.add("shop.", "A", FIRST, SECOND, ttl=1)
    await named.until("shop.localhost", FIRST, SECOND)
    named.names.add("shop.", "A", SECOND, ttl=1)
    await named.until("shop.localhost", SECOND)
    # The name server is gone: the last good answer stays, and is told as a fault.
    named.names.everything = Rcode.SERVFAIL
    file = named.site.file("shop.yaml")
    (fault,) = await asyncio.to_thread(until, lambda: named.program.faults(file), "the fault")
    assert (fault["severity"], fault["code"]) == ("warning", "discovery_failed")
    assert fault["line"] == file.read_text().splitlines().index("kind: Service")
    assert "the last good addresses stay in use" in fault["message"]
    assert await asyncio.to_thread(answering, named.program, "shop.localhost") == {(200, SECOND)}
    named.names.everything = None
    named.names.add("shop.", "A", FIRST, ttl=1)
    await named.until("shop.localhost", FIRST)
    await asyncio.to_thread(until, lambda: not named.program.faults(file), "the fault to end")
    # The name is gone, and that is an answer: 503 at once.
    named.names.remove("shop.")
    await named.until_refused("shop.localhost")
    assert "NXDOMAIN" in await asyncio.to_thread(problem_of, named.program, "shop")
    named.names.add("shop.", "A", SECOND, ttl=1)
    await named.until("shop.localhost", SECOND)
    assert await asyncio.to_thread(lambda: named.program.generation) == generation, "endpoints are no edits"


async def test_a_name_server_that_is_silent_holds_up_no_other_route(named: Named) -> None:
    named.names.add("shop.", "A", FIRST, ttl=1)
    named.service("shop")
    await named.until("shop.localhost", FIRST)
    named.names.silent = True
    named.service("other")
    await named.until_refused("other.localhost")
    assert "has not answered yet" in await asyncio.to_thread(problem_of, named.program, "other")
    assert await asyncio.to_thread(answering, named.program, "shop.localhost") == {(200, FIRST)}
    named.names.add("other.", "A", SECOND, ttl=1)
    named.names.silent = False
    await named.until("other.localhost", SECOND)


async def test_a_name_that_does_not_exist_is_503_with_its_reason(named: Named) -> None:
    named.service("nobody")
    await named.until_refused("nobody.localhost")
    outcome = (await asyncio.to_thread(named.program.api, "explain?url=http://nobody.localhost/"))["outcome"]
    assert (outcome["status"], outcome["reason"]) == (503, "no_endpoints")
    assert "nobody does not resolve (NXDOMAIN)" in outcome["detail"]


async def test_an_edit_that_adds_a_name_is_served_with_its_endpoints(named: Named) -> None:
    named.names.add("new.", "A", FIRST, ttl=1)
    named.service("new")
    await asyncio.to_thread(named.program.until_served, 2)
    # Not one 503 in between: the snapshot waited for the answer.
    assert await asyncio.to_thread(answering, named.program, "new.localhost") == {(200, FIRST)}


async def test_annotations_say_who_is_asked_and_for_what(named: Named) -> None:
    named.names.add("elsewhere.test.", "A", SECOND, ttl=1)
    named.names.add("_web._tcp.test.", "SRV", f"0 1 {named.port} elsewhere.test.", ttl=1)
    named.service("listed", endpoints=f"{FIRST}:{named.port}, {SECOND}:{named.port}")
    named.service("renamed", discovery="dns:elsewhere.test")
    named.service("counted", discovery="dns:_web._tcp.test")
    await named.until("listed.localhost", FIRST, SECOND)
    await named.until("renamed.localhost", SECOND)
    await named.until("counted.localhost", SECOND)
    named.service("listed", endpoints=f"{SECOND}:{named.port}")
    await named.until("listed.localhost", SECOND)


async def test_an_external_name_reaches_loopback_only_where_it_is_allowed(named: Named) -> None:
    named.names.add("allowed.test.", "A", FIRST, ttl=1)
    named.names.add("refused.test.", "A", SECOND, ttl=1)
    named.external("allowed", "allowed.test")
    named.external("refused", "refused.test")
    await named.until("allowed.localhost", FIRST)
    await named.until_refused("refused.localhost")
    faults = await asyncio.to_thread(named.program.faults, named.site.file("refused.yaml"))
    assert [fault["code"] for fault in faults] == ["external_name_refused"]
    assert "--external-name-allow 127.0.0.2" in faults[0]["hint"]
    # A name that turns to loopback later is refused, too.
    named.names.add("allowed.test.", "A", SECOND, ttl=1)
    await named.until_refused("allowed.localhost")


def test_the_plug_in_of_the_examples_is_asked_by_the_program(tmp_path: Path) -> None:
    installed, book = tmp_path / "installed", tmp_path / "phone-book.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, *offline, "--target", installed, PLUGIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with addresses(FIRST, SECOND) as port:
        book.write_text(f"plumber {FIRST} {port}\n")
        environ = {"PYTHONPATH": str(installed), "PHONE_BOOK": str(book)}
        with running(tmp_path / "log", str(PLUGIN), environ=environ, traces=True) as program:
            until(lambda: answering(program, "plumber.localhost") == {(200, FIRST)}, "the first entry")
            book.write_text(f"plumber {FIRST} {port}\nplumber {SECOND} {port}\n")
            both = {(200, FIRST), (200, SECOND)}
            until(lambda: answering(program, "plumber.localhost") == both, "both entries")
            book.unlink()
            until(lambda: program.faults(PLUGIN / "service.yaml"), "the fault of the missing book")
            assert answering(program, "plumber.localhost") == both
            (service,) = program.api("services")
            assert (service["pools"][0]["discovery"], service["pools"][0]["targets"]) == ("phone-book", ["plumber"])
            book.write_text("")
            until(lambda: {status for status, _ in answering(program, "plumber.localhost")} == {503}, "503")
            assert program.generation == 1
            assert "plumber is not in" in json.dumps(program.api("faults"))
