"""HTTPS of the whole program, as openssl and Python see it: which certificate for which name, which versions."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingressd.table.certificate import Certificate
from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.certificates import authority, issue, names_of, trusting
from tests.support.program import PATIENCE_S, Program, running
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("tls")

EXACT, WILDCARD, FILE = (issue(name) for name in ("exact.localhost", "*.wild.localhost", "file.localhost"))


class World:
    """A program with certificates of every kind."""

    def __init__(self, program: Program, site: Site, behind: App, ca: Path) -> None:
        self.program = program
        self.site = site
        self.app = behind
        self.ca = ca

    def connect(self, name: str | None, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A TLS connection that asks for `name`."""
        plain = socket.create_connection(("127.0.0.1", self.program.port("https")), timeout=PATIENCE_S)
        try:
            return (context or trusting()).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def names(self, name: str | None) -> list[str]:
        """Those of the certificate that is shown for `name`."""
        with self.connect(name) as client:
            return names_of(client)

    def get(self, name: str, host: str) -> bytes:
        """A request for `host` on a connection that was opened for `name`."""
        with self.connect(name) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while data := client.recv(65536):
                answer += data
            return answer

    def openssl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """s_client, which sends nothing."""
        path = shutil.which("openssl")
        assert path is not None, "openssl is missing: run `make test-tools`"
        place = f"127.0.0.1:{self.program.port('https')}"
        command = [path, "s_client", "-connect", place, "-CAfile", str(self.ca), *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)


def _write_pair(folder: Path, name: str, certificate: Certificate) -> str:
    """As an option names it."""
    chain, key = folder / f"{name}.crt", folder / f"{name}.key"
    chain.write_bytes(certificate.chain_pem)
    key.write_bytes(certificate.key_pem)
    return f"{chain}:{key}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    site = Site(folder / "site")
    ca = folder / "ca.crt"
    authority().cert_pem.write_to_path(str(ca))
    options = (
        f"--certificate={_write_pair(folder, 'file', FILE)}",
        f"--default-certificate={_write_pair(folder, 'default', issue('default.localhost'))}",
    )
    with app("the app") as behind:
        site.write("exact.yaml", manifests.routed("exact", "exact.localhost", behind.port, secret="exact"))
        site.write("wild.yaml", manifests.routed("wild", "*.wild.localhost", behind.port, secret="wild"))
        site.write("file.yaml", manifests.routed("file", "file.localhost", behind.port))
        secrets = manifests.secret("exact", EXACT) + "---\n" + manifests.secret("wild", WILDCARD)
        site.write("secrets.yaml", secrets)
        with running(folder / "log", str(site.folder), "--https-port=0", "--access-log=off", *options) as program:
            yield World(program, site, behind, ca)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("exact.localhost", "exact.localhost"),
        ("EXACT.localhost", "exact.localhost"),
        ("any.wild.localhost", "*.wild.localhost"),
        ("file.localhost", "file.localhost"),
        ("wild.localhost", "default.localhost"),
        ("deeper.any.wild.localhost", "default.localhost"),
        ("nobody.localhost", "default.localhost"),
        (None, "default.localhost"),
    ],
)
def test_the_name_decides_which_certificate_is_shown(world: World, asked: str | None, shown: str) -> None:
    assert world.names(asked) == [shown]


def test_openssl_verifies_the_chain_for_the_name(world: World) -> None:
    done = world.openssl(
        "-servername", "exact.localhost", "-verify_return_error", "-verify_hostname", "exact.localhost"
    )
    assert done.returncode == 0, done.stdout
    assert "Verify return code: 0 (ok)" in done.stdout


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_modern_versions_are_spoken(world: World, option: str, version: str) -> None:
    done = world.openssl("-servername", "exact.localhost", option)
    assert done.returncode == 0, done.stdout
    assert f"New, {version}" in done.stdout or f"Protocol  : {version}" in done.stdout


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(world: World, option: str) -> None:
    done = world.openssl("-servername", "exact.localhost", option, "-cipher", "DEFAULT@SECLEVEL=0")
    assert done.returncode != 0
    assert "Cipher is (NONE)" in done.stdout
    assert world.names("exact.localhost") == ["exact.localhost"]


def test_only_http_1_1_is_agreed_on(world: World) -> None:
    done = world.openssl("-servername", "exact.localhost", "-alpn", "h2,http/1.1")
    assert "ALPN protocol: http/1.1" in done.stdout


def test_the_host_field_decides_about_the_route_whatever_the_name_was(world: World) -> None:
    assert world.get("exact.localhost", "any.wild.localhost").endswith(b"the app")
    assert world.get("exact.localhost", "nobody.localhost").startswith(b"HTTP/1.1 404 ")


def test_plain_http_on_the_https_port_is_turned_away(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.program.port("https")), timeout=PATIENCE_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: exact.localhost\r\n\r\n")
        assert b"the app" not in client.makefile("rb").read()


def test_a_handshake_that_stops_half_way_holds_nobody_up(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.program.port("https")), timeout=PATIENCE_S) as idle:
        idle.sendall(b"\x16\x03\x01\x02\x00\x01")
        for _ in range(10):
            assert world.names("exact.localhost") == ["exact.localhost"]


def test_a_session_can_be_resumed_only_for_its_own_name(world: World) -> None:
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with world.connect("exact.localhost", context) as first:
        assert names_of(first) == ["exact.localhost"]
        session = first.session
    plain = socket.create_connection(("127.0.0.1", world.program.port("https")), timeout=PATIENCE_S)
    with context.wrap_socket(plain, server_hostname="file.localhost", session=session) as second:
        assert not second.session_reused
        assert names_of(second) == ["file.localhost"]


def test_an_edit_of_certificates_breaks_no_handshake(world: World) -> None:
    stop = threading.Event()
    shown: set[str] = set()
    problems: list[BaseException] = []

    def shake_hands() -> None:
        while not stop.is_set() and not problems:
            try:
                shown.update(world.names("exact.localhost"))
            except OSError as problem:
                problems.append(problem)

    generation = world.program.generation
    shaking = [threading.Thread(target=shake_hands) for _ in range(4)]
    for thread in shaking:
        thread.start()
    for number in range(1, 11):
        pair = EXACT if number % 2 else issue("exact.localhost")
        secrets = manifests.secret("exact", pair) + "---\n" + manifests.secret("wild", WILDCARD)
        world.site.write("secrets.yaml", f"{secrets}# {number}\n")
        world.program.until_served(generation + number)
    stop.set()
    for thread in shaking:
        thread.join()
    assert problems == []
    assert shown == {"exact.localhost"}


def test_a_connection_closes_its_tls_before_its_tcp(world: World) -> None:
    with world.connect("exact.localhost") as client:
        # Without close_notify this read would be an SSLEOFError: a cut answer could not be told from a whole one.
        client.suppress_ragged_eofs = False
        client.sendall(b"GET / HTTP/1.1\r\nHost: exact.localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert answer.endswith(b"the app")


def test_a_new_certificate_for_a_new_host_is_shown_at_once(world: World) -> None:
    text = manifests.routed("late", "late.localhost", world.app.port, secret="late")
    generation = world.program.generation
    assert world.names("late.localhost") == ["default.localhost"]
    path = world.site.write("late.yaml", text + "---\n" + manifests.secret("late", issue("late.localhost")))
    world.program.until_served(generation + 1)
    for _ in range(10):
        assert world.names("late.localhost") == ["late.localhost"]
        assert world.program.get(host="late.localhost")[0] == 308
    path.unlink()
    world.program.until_served(generation + 2)
    assert world.names("late.localhost") == ["default.localhost"]
