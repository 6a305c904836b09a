from __future__ import annotations

import base64
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingressd.cli.demo_certificates import make_certificates
from ingressd.cli.demo_processes import start_apps, start_proxy
from ingressd.errors import StartupError

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the manifests of the examples."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__", "apps"))
    return tmp_path / "examples"


def verified(chain: Path, *hosts: str) -> list[str]:
    """Those of `hosts` for which openssl trusts the certificate by certs/ca.crt."""
    return [
        host
        for host in hosts
        if subprocess.run(
            ["openssl", "verify", "-CAfile", "certs/ca.crt", "-verify_hostname", host, chain],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    ]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_certificate_covers_every_host_of_the_examples(examples: Path, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    stage.mkdir(mode=0o700)
    before = files_of(examples)
    assert make_certificates(examples, stage) == f"{stage}/examples.crt:{stage}/examples.key"
    hosts = ("shop.localhost", "cats.blog.localhost", "bank.localhost", "live.localhost", "localhost")
    assert verified(stage / "examples.crt", *hosts, "elsewhere.localhost") == list(hosts)
    assert mode_of(stage / "examples.key") == mode_of(stage / "secrets.yaml") == 0o600
    assert files_of(examples) == before
    assert sorted(path.name for path in (tmp_path / "certs").iterdir()) == ["ca.crt", "ca.key"]


def test_the_secrets_that_the_examples_name_are_made(examples: Path, tmp_path: Path, ingressd: Any) -> None:
    stage = tmp_path / "stage"
    stage.mkdir(mode=0o700)
    make_certificates(examples, stage)
    (secret,) = yaml.safe_load_all((stage / "secrets.yaml").read_text())
    assert secret["metadata"]["name"] == "bank-tls"
    (tmp_path / "bank.crt").write_bytes(base64.b64decode(secret["data"]["tls.crt"]))
    assert verified(tmp_path / "bank.crt", "bank.localhost", "shop.localhost") == ["bank.localhost"]
    assert "secret_missing" in ingressd("check", "examples").out
    done = ingressd("check", "--strict", "examples", "stage")
    assert (done.code, done.out) == (0, "0 errors\n")


def test_a_secret_that_is_there_is_not_made(examples: Path, tmp_path: Path, ingressd: Any) -> None:
    ingressd("certs", "dev", "bank.localhost", "--dir", "own", "--secret", "bank-tls")
    (tmp_path / "own" / "bank-tls.yaml").rename(examples / "tls" / "secret.yaml")
    make_certificates(examples, tmp_path)
    assert list(yaml.safe_load_all((tmp_path / "secrets.yaml").read_text())) == []


def test_an_ingress_without_hosts_under_tls_gets_a_secret_for_its_rules(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "a.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a, namespace: own}\n"
        "spec:\n  tls: [{secretName: a-tls}]\n  rules: [{host: a.localhost}, {host: b.localhost}]\n"
        "  defaultBackend: {service: {name: a, port: {number: 80}}}\n"
    )
    make_certificates(tmp_path / "examples", tmp_path)
    (secret,) = yaml.safe_load_all((tmp_path / "secrets.yaml").read_text())
    assert secret["metadata"] == {"name": "a-tls", "namespace": "own"}
    (tmp_path / "a.crt").write_bytes(base64.b64decode(secret["data"]["tls.crt"]))
    assert verified(tmp_path / "a.crt", "a.localhost", "b.localhost") == ["a.localhost", "b.localhost"]


@pytest.mark.usefixtures("examples")
def test_certs_only_fills_the_folder_that_docker_compose_mounts(program: Any, tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir(mode=0o755)
    for _ in range(2):
        done = program("demo", "--certs-only")
        assert (done.code, done.err) == (0, "")
        assert done.out == "made certs/proxy/examples.crt:certs/proxy/examples.key\n"
    modes = {str(path.relative_to(certs)): mode_of(path) for path in certs.rglob("*")}
    assert modes == {
        "ca.crt": 0o644,
        "ca.key": 0o600,
        "proxy": 0o755,
        "proxy/examples.crt": 0o644,
        "proxy/examples.key": 0o644,
        "proxy/secrets.yaml": 0o644,
    }
    assert mode_of(certs) == 0o700, "what is readable for others is in a folder that keeps them out"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--certs-only"], "examples: no such folder; name the examples with --dir"),
        ([], "examples: no demo apps there; run this in a checkout of ingressd, or name its examples with --dir"),
    ],
)
def test_without_examples_it_says_where_to_run_it(ingressd: Any, arguments: list[str], message: str) -> None:
    done = ingressd("demo", *arguments)
    assert (done.code, done.out, done.err) == (2, "", f"ingressd: {message}\n")


@pytest.mark.parametrize("port", ["off", "-1", "65536", "http", "٣"])
def test_a_port_that_is_none_is_refused(ingressd: Any, port: str) -> None:
    done = ingressd("demo", "--dir", str(EXAMPLES), "--http-port", port)
    assert (done.code, done.err) == (2, f"ingressd: --http-port: {port!r} is not a port; 0 is any free one\n")


def test_a_port_that_is_taken_is_named(ingressd: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = ingressd("demo", "--dir", str(EXAMPLES), "--admin-port", port)
    assert done.code == 1
    assert f"--admin-port: port {port} of 127.0.0.1 is taken or not allowed" in done.err


def test_apps_that_do_not_start_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "__main__.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(StartupError, match="the demo apps did not start"):
        start_apps(tmp_path, tmp_path / "endpoints.json")


def test_a_proxy_that_does_not_start_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StartupError, match="the proxy did not start"):
        start_proxy([str(tmp_path / "nowhere")], 1)
    assert "nowhere: no such file or folder" in capfd.readouterr().err
