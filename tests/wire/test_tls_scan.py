"""What sslscan, which nobody here wrote, finds on the HTTPS port."""

from __future__ import annotations

import asyncio
import shutil
from xml.etree import ElementTree

from tests.support.backend import backend, echo
from tests.support.certificates import issue
from tests.support.edge import running, snapshot

SCAN_S = 60
MISSING = "sslscan is not installed: `make test-tools` installs it on Debian and Ubuntu"


async def scan(*names: str) -> ElementTree.Element:
    """sslscan's findings on an edge with a certificate for `names`; the first one is asked for."""
    program = shutil.which("sslscan")
    assert program is not None, MISSING
    certificate = issue(*names)
    async with (
        backend(echo) as app,
        running(snapshot((app.port,), default_certificate=certificate)) as edge,
        asyncio.timeout(SCAN_S),
    ):
        process = await asyncio.create_subprocess_exec(
            program,
            "--xml=-",
            "--no-colour",
            f"--sni-name={names[0]}",
            f"127.0.0.1:{edge.tls_port}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    found = ElementTree.fromstring(output).find("ssltest")
    assert found is not None, output.decode()
    return found


async def test_a_scanner_finds_tls_1_2_and_1_3_and_nothing_older() -> None:
    findings = await scan("shop.test")
    enabled = {(each.get("type"), each.get("version")): each.get("enabled") for each in findings.iter("protocol")}
    assert enabled == {
        ("ssl", "2"): "0",
        ("ssl", "3"): "0",
        ("tls", "1.0"): "0",
        ("tls", "1.1"): "0",
        ("tls", "1.2"): "1",
        ("tls", "1.3"): "1",
    }


async def test_a_scanner_finds_only_ciphers_with_forward_secrecy_and_authenticated_encryption() -> None:
    findings = await scan("shop.test")
    ciphers = {(each.get("sslversion"), each.get("cipher")) for each in findings.iter("cipher")}
    assert ciphers == {
        ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"),
        ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    }
    assert {each.get("strength") for each in findings.iter("cipher")} <= {"acceptable", "strong"}


async def test_a_scanner_finds_no_renegotiation_no_compression_and_no_heartbleed() -> None:
    findings = await scan("shop.test")
    renegotiation = findings.find("renegotiation")
    assert renegotiation is not None
    assert renegotiation.get("supported") == "0"
    assert [each.get("supported") for each in findings.iter("compression")] in ([], ["0"])
    heartbleed = {each.get("sslversion"): each.get("vulnerable") for each in findings.iter("heartbleed")}
    assert heartbleed == {"TLSv1.2": "0", "TLSv1.3": "0"}
