"""Which key exchanges the program takes part in, asked for by openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.process.conftest import Launch
from tests.support.program import PATIENCE_S, Program
from tests.support.site import Site


def agreed(program: Program, group: str, version: str, environ: dict[str, str]) -> bool:
    """Whether a handshake with this group alone succeeds."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is not installed: `make test-tools` installs it on Debian and Ubuntu"
    address = f"127.0.0.1:{program.port('https')}"
    ended = subprocess.run(
        [openssl, "s_client", "-connect", address, "-servername", "a.localhost", "-groups", group, version],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    return ended.returncode == 0


def test_a_client_cannot_choose_a_costly_key_exchange(launch: Launch, site: Site, tmp_path: Path) -> None:
    program = launch(str(site.folder), "--https-port=0", "--workers=1").until_ready()
    empty = tmp_path / "openssl.cnf"  # the client's own, so that it asks for whatever it is told
    empty.write_text("")
    environ = {"OPENSSL_CONF": str(empty)}
    for group in ("X25519", "P-256", "P-384"):
        assert agreed(program, group, "-tls1_3", environ), group
    assert agreed(program, "X25519:P-256", "-tls1_2", environ)
    for group in ("ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"):
        assert not agreed(program, group, "-tls1_3", environ), group


def test_the_operators_own_configuration_of_openssl_counts(launch: Launch, site: Site, tmp_path: Path) -> None:
    own = tmp_path / "openssl.cnf"
    own.write_text("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nGroups = P-384\n")
    program = launch(
        str(site.folder), "--https-port=0", "--workers=1", environ={"OPENSSL_CONF": str(own)}
    ).until_ready()
    empty = tmp_path / "empty.cnf"
    empty.write_text("")
    assert agreed(program, "P-384", "-tls1_3", {"OPENSSL_CONF": str(empty)})
    assert not agreed(program, "X25519", "-tls1_3", {"OPENSSL_CONF": str(empty)})
