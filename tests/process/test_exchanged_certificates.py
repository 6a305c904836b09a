"""Certificates that are exchanged while the program serves: Secrets, and files that the command line names."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from ingressd.table.certificate import Certificate
from tests.support import site as manifests
from tests.support.app import app
from tests.support.certificates import issue, trusting
from tests.support.program import PATIENCE_S, Program, running, until
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("exchanged-certificates")

ENOUGH = 20
"""Connections, so that none of two workers is left out but by an odd chance."""


class TlsClient:
    """A connection by HTTPS that is kept."""

    def __init__(self, program: Program, host: str) -> None:
        plain = socket.create_connection(("127.0.0.1", program.port("https")), timeout=PATIENCE_S)
        self._host = host
        self._socket = trusting().wrap_socket(plain, server_hostname=host)
        certificate = self._socket.getpeercert(binary_form=True)
        assert certificate is not None
        self.certificate = ssl.DER_cert_to_PEM_cert(certificate).encode()

    def get(self) -> bytes:
        self._socket.sendall(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith((b"one", b"two")):
            data = self._socket.recv(65536)
            assert data, answer
            answer += data
        return answer

    def close(self) -> None:
        self._socket.close()


def _shown(program: Program, host: str) -> bytes:
    """The certificate that a new client sees."""
    client = TlsClient(program, host)
    client.close()
    return client.certificate


def _leaf(certificate: Certificate) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return certificate.chain_pem[: certificate.chain_pem.index(end) + len(end)]


def test_a_new_secret_is_shown_to_new_clients_and_costs_old_ones_nothing(tmp_path: Path) -> None:
    host = "secret.localhost"
    old, new = (issue(host) for _ in range(2))
    site = Site(tmp_path / "site")
    path = site.write("secret.yaml", manifests.secret("pair", old))
    with app("one") as one:
        site.write("site.yaml", manifests.routed("site", host, one.port, secret="pair"))
        with running(tmp_path / "log", str(site.folder), "--https-port=0", "--access-log=off") as program:
            before = TlsClient(program, host)
            assert before.certificate == _leaf(old)
            assert before.get().startswith(b"HTTP/1.1 200 OK\r\n")
            manifests.replace(path, manifests.secret("pair", new))
            program.until_served(2)
            for _ in range(ENOUGH):
                assert _shown(program, host) == _leaf(new)
            assert before.get().startswith(b"HTTP/1.1 200 OK\r\n")
            # One that cannot be used leaves the one before.
            manifests.replace(path, manifests.secret("pair", new).replace("tls.key:", "tls.other:"))
            program.until_served(3)
            for _ in range(ENOUGH):
                assert _shown(program, host) == _leaf(new)
            assert [fault["severity"] for fault in program.faults(path)] == ["error"]
            assert before.get().startswith(b"HTTP/1.1 200 OK\r\n")
            before.close()


class PemFiles:
    """A certificate and its key, on disk."""

    def __init__(self, folder: Path, name: str) -> None:
        self._chain, self._key = folder / f"{name}.crt", folder / f"{name}.key"
        self.option = f"{self._chain}:{self._key}"

    def write(self, certificate: Certificate) -> Certificate:
        for path, pem in ((self._chain, certificate.chain_pem), (self._key, certificate.key_pem)):
            manifests.replace(path, pem.decode())
        return certificate


def test_certificate_files_are_followed(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    named, default = PemFiles(tmp_path, "named"), PemFiles(tmp_path, "default")
    first = named.write(issue("named.localhost")), default.write(issue("anything.localhost"))
    options = (f"--certificate={named.option}", f"--default-certificate={default.option}")
    with (
        app("one") as one,
        running(tmp_path / "log", str(site.folder), "--https-port=0", "--poll-interval=0.1", *options) as program,
    ):
        site.route("named.localhost", one)
        program.until_answers((200, "one"), host="named.localhost")
        kept = TlsClient(program, "named.localhost")
        assert kept.certificate == _leaf(first[0])
        assert _shown(program, "other.localhost") == _leaf(first[1])
        second = named.write(issue("named.localhost")), default.write(issue("anything.localhost"))
        until(lambda: _shown(program, "named.localhost") == _leaf(second[0]), "the new certificate")
        until(lambda: _shown(program, "other.localhost") == _leaf(second[1]), "the new default certificate")
        for _ in range(ENOUGH):
            assert _shown(program, "named.localhost") == _leaf(second[0])
        assert kept.get().startswith(b"HTTP/1.1 200 OK\r\n")
        kept.close()
        assert "certificates" in {reload["trigger"] for reload in program.api("reloads")}
        assert [fault for fault in program.api("faults") if fault["severity"] == "error"] == []
