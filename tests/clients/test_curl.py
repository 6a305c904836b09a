"""curl: every version it speaks, uploads and downloads of any size, HTTPS with a development CA."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HOST, TLS_HOST, Curl, Edge
from tests.support.app import BLOCK, GZIPPED
from tests.support.memory import MIB, Growth
from tests.support.program import PATIENCE_S, until

pytestmark = pytest.mark.xdist_group("clients-curl")

BIG_BYTES = 200 * MIB
GROWTH_BYTES = 32 * MIB
"""More than two buffers of a connection and less than any body that is held whole."""
STALL_S = 0.5
"""A socket that takes nothing for so long is full."""
_UNKNOWN_CA = 60
_BAD_CA_FILE = 77


def _seen(output: bytes) -> dict[str, Any]:
    """What /seen says; `fields` by lower-case name."""
    seen: dict[str, Any] = json.loads(output)
    names = [name.lower() for name, _ in seen["fields"]]
    assert len(names) == len(set(names)), seen["fields"]
    seen["fields"] = {name.lower(): value for name, value in seen["fields"]}
    return seen


def _head(output: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Status line and fields of what `curl --include` printed."""
    status, *lines = output.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return status, {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}


def test_http_1_1_is_answered(edge: Edge, curl: Curl) -> None:
    status, fields = _head(curl("--include", edge.http("/")).stdout)
    assert status == b"HTTP/1.1 200 OK"
    assert fields[b"content-length"] == b"7"
    assert b"connection" not in fields


def test_http_1_0_is_answered_and_closed(edge: Edge, curl: Curl) -> None:
    output = curl("--http1.0", "--include", edge.http("/seen")).stdout
    status, fields = _head(output)
    assert status == b"HTTP/1.1 200 OK"
    assert fields[b"connection"] == b"close"
    assert _seen(output.partition(b"\r\n\r\n")[2])["version"] == "1.1"


def test_an_answer_of_unknown_length_ends_with_the_connection_for_http_1_0(edge: Edge, curl: Curl) -> None:
    edge.app.publish("only")
    edge.app.publish(None)
    output = curl("--http1.0", "--include", edge.http("/events")).stdout
    _, fields = _head(output)
    assert b"transfer-encoding" not in fields
    assert output.endswith(b"\r\n\r\ndata: only\n\n")


def test_http_2_is_not_offered_and_curl_stays_with_http_1_1(edge: Edge, curl: Curl) -> None:
    output = curl("--http2", "--write-out", "%{http_version}", edge.https("/")).stdout
    assert output == b"the app1.1"


def test_head_has_the_fields_and_no_body(edge: Edge, curl: Curl) -> None:
    output = curl("--head", edge.http("/download?blocks=3"), edge.http("/")).stdout
    first, second, rest = output.split(b"\r\n\r\n")
    assert b"Content-Length: %d" % (3 * len(BLOCK)) in first
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest == b""


def test_a_connection_is_used_again(edge: Edge, curl: Curl) -> None:
    urls = [edge.http("/")] * 20
    output = curl("--write-out", " %{num_connects}\n", *urls).stdout.decode().splitlines()
    assert [line.split()[-1] for line in output] == ["1", *["0"] * 19]


def test_the_development_ca_is_all_that_a_client_needs_for_https(edge: Edge, curl: Curl) -> None:
    assert curl("--fail", edge.https("/")).stdout == b"the app"


def test_a_client_that_does_not_know_the_ca_refuses(edge: Edge, curl: Curl) -> None:
    assert curl.refuses("--cacert", "/dev/null", edge.https("/")) in {_UNKNOWN_CA, _BAD_CA_FILE}


def test_a_host_without_a_certificate_of_its_own_gets_a_self_made_one(edge: Edge, curl: Curl) -> None:
    assert curl.refuses(edge.https("/", HOST)) == _UNKNOWN_CA
    assert curl("--insecure", edge.https("/", HOST)).stdout == b"the app"


def test_http_is_redirected_to_the_https_port(edge: Edge, curl: Curl) -> None:
    url = f"http://{TLS_HOST}:{edge.program.port('http')}/cart%20a//b?q=1&r=%2F"
    status, fields = _head(curl("--include", url).stdout)
    assert status == b"HTTP/1.1 308 Permanent Redirect"
    assert fields[b"location"] == edge.https("/cart%20a//b?q=1&r=%2F").encode()
    assert fields[b"x-ingressd-reason"] == b"redirect"


def test_a_redirected_post_arrives_with_its_body(edge: Edge, curl: Curl) -> None:
    url = f"http://{TLS_HOST}:{edge.program.port('http')}/seen"
    seen = _seen(curl("--location", "--data", "a=1", url).stdout)
    assert (seen["method"], seen["body"], seen["fields"]["x-forwarded-proto"]) == ("POST", "a=1", "https")


# Who is asking.


def test_the_backend_learns_who_asks_by_http(edge: Edge, curl: Curl) -> None:
    port = edge.program.port("http")
    fields = _seen(curl(edge.http("/seen")).stdout)["fields"]
    assert fields.pop("x-request-id").isalnum()
    assert {name: value for name, value in fields.items() if name not in {"user-agent", "accept"}} == {
        "host": f"{HOST}:{port}",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": f"{HOST}:{port}",
        "x-forwarded-port": str(port),
        "x-forwarded-proto": "http",
        "x-forwarded-scheme": "http",
        "x-scheme": "http",
        "x-real-ip": "127.0.0.1",
        "forwarded": f'for=127.0.0.1;host="{HOST}:{port}";proto=http',
    }


def test_the_backend_learns_who_asks_by_https(edge: Edge, curl: Curl) -> None:
    port = edge.program.port("https")
    fields = _seen(curl(edge.https("/seen")).stdout)["fields"]
    assert fields["x-forwarded-proto"] == fields["x-forwarded-scheme"] == fields["x-scheme"] == "https"
    assert fields["x-forwarded-port"] == str(port)
    assert fields["forwarded"] == f'for=127.0.0.1;host="{TLS_HOST}:{port}";proto=https'


def test_what_a_client_claims_about_itself_is_dropped(edge: Edge, curl: Curl) -> None:
    claims = (
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
    )
    arguments = [argument for claim in claims for argument in ("--header", claim)]
    fields = _seen(curl(*arguments, edge.http("/seen")).stdout)["fields"]
    assert "192.0.2.1" not in json.dumps(fields)
    assert (fields["x-forwarded-for"], fields["x-forwarded-proto"]) == ("127.0.0.1", "http")


# Bodies.


def test_a_packed_body_passes_as_it_is(edge: Edge, curl: Curl) -> None:
    output = curl("--include", "--header", "Accept-Encoding: gzip", edge.http("/gzip")).stdout
    _, fields = _head(output)
    assert fields[b"content-encoding"] == b"gzip"
    assert output.partition(b"\r\n\r\n")[2] == GZIPPED
    assert curl("--compressed", edge.http("/gzip")).stdout == gzip.decompress(GZIPPED)


def test_expect_100_continue_is_answered_before_the_body(edge: Edge, curl: Curl) -> None:
    done = curl("--verbose", "--header", "Expect: 100-continue", "--data", "a=1", edge.http("/seen"))
    trace = done.stderr.decode()
    assert "< HTTP/1.1 100 Continue" in trace
    assert "Done waiting for 100-continue" not in trace, "curl gave up waiting"
    assert _seen(done.stdout)["body"] == "a=1"


def test_an_expected_body_of_a_request_without_a_route_is_not_asked_for(edge: Edge, curl: Curl) -> None:
    done = curl(
        *("--verbose", "--header", "Expect: 100-continue", "--header", "Host: nobody.localhost"),
        *("--data", "a=1", "--write-out", "%{http_code}", "--output", "/dev/null", edge.http("/")),
    )
    assert done.stdout == b"404"
    assert "100 Continue" not in done.stderr.decode()


def test_a_file_is_uploaded(edge: Edge, curl: Curl, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(BLOCK * 80)
    # Above 1 MiB curl asks for 100 (Continue) of its own accord.
    done = curl("--verbose", "--upload-file", str(file), edge.http("/count"))
    assert "< HTTP/1.1 100 Continue" in done.stderr.decode()
    assert json.loads(done.stdout)["sha256"] == hashlib.sha256(BLOCK * 80).hexdigest()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_upload_of_unknown_length_takes_no_memory(edge: Edge, curl: Curl, scheme: str) -> None:
    script = "import sys\nfor _ in range(200): sys.stdout.buffer.write(bytes(range(256)) * 4096)"
    url = edge.http("/count") if scheme == "http" else edge.https("/count")
    growth = Growth(edge.program.pids()["workers"])
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as generator:
        done = curl("--upload-file", "-", "--header", "Transfer-Encoding: chunked", url, stdin=generator.stdout)
    expected = hashlib.sha256()
    for _ in range(200):
        expected.update(bytes(range(256)) * 4096)
    assert json.loads(done.stdout) == {"bytes": BIG_BYTES, "sha256": expected.hexdigest()}
    assert growth.bytes < GROWTH_BYTES


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reader_that_pauses_stops_the_sender_and_takes_no_memory(edge: Edge, curl: Curl, scheme: str) -> None:
    blocks = BIG_BYTES // len(BLOCK)
    path = f"/download?blocks={blocks}"
    url = edge.http(path) if scheme == "http" else edge.https(path)
    growth = Growth(edge.program.pids()["workers"])
    edge.app.sent_bytes = 0
    with curl.reading(url) as reader:
        assert reader.stdout is not None
        for _ in range(3):
            # Nobody reads: in the end the application's socket is full.
            sent = until(lambda: edge.app.settled, "the sender to be stopped")
            assert sent < BIG_BYTES
            for _ in range(400):
                assert reader.stdout.read(len(BLOCK)) == BLOCK
        rest = 0
        while data := reader.stdout.read(len(BLOCK)):
            rest += len(data)
    assert reader.returncode == 0
    assert rest == BIG_BYTES - 3 * 400 * len(BLOCK)
    assert growth.bytes < GROWTH_BYTES


def test_an_upload_waits_for_a_backend_that_does_not_read_and_takes_no_memory(edge: Edge) -> None:
    growth = Growth(edge.program.pids()["workers"])
    edge.app.entered.clear()
    head = f"PUT /late HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {BIG_BYTES}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", edge.program.port("http")), timeout=PATIENCE_S) as client:
        client.sendall(head.encode())
        assert edge.app.entered.wait(PATIENCE_S)
        sent, zeros = 0, bytes(MIB)
        while select.select([], [client], [], STALL_S)[1]:
            sent += client.send(zeros[: min(MIB, BIG_BYTES - sent)])
            assert sent < BIG_BYTES
        assert growth.bytes < GROWTH_BYTES
        edge.app.release()
        while sent < BIG_BYTES:
            sent += client.send(zeros[: min(MIB, BIG_BYTES - sent)])
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["bytes"] == BIG_BYTES
    assert growth.bytes < GROWTH_BYTES


def test_a_reader_that_goes_away_ends_the_download_at_the_backend(edge: Edge) -> None:
    before = edge.app.downloads_cut
    connection = http.client.HTTPConnection("127.0.0.1", edge.program.port("http"), timeout=PATIENCE_S)
    connection.request("GET", f"/download?blocks={BIG_BYTES // len(BLOCK)}", headers={"Host": HOST})
    response = connection.getresponse()
    assert response.read(len(BLOCK)) == BLOCK
    response.close()
    connection.close()
    until(lambda: edge.app.downloads_cut > before, "the end of the download")
