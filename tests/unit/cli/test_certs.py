from __future__ import annotations

import base64
import os
import re
import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingressd.cli.certs import file_name
from ingressd.sources.issuer import AUTHORITY_DAYS, make_authority


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def verify(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", "certs/ca.crt", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_certificate_has_all_names_and_openssl_trusts_it(program: Any, tmp_path: Path) -> None:
    done = program("certs", "dev", "Shop.localhost", "*.shop.localhost", "127.0.0.1", "::1", "shop.localhost")
    assert (done.code, done.err) == (0, "")
    certs = tmp_path / "certs"
    assert sorted(path.name for path in certs.iterdir()) == [
        "ca.crt",
        "ca.key",
        "shop.localhost.crt",
        "shop.localhost.key",
    ]
    for name in ("shop.localhost", "a.shop.localhost"):
        assert verify("-verify_hostname", name, "certs/shop.localhost.crt").returncode == 0
    for address in ("127.0.0.1", "::1"):
        assert verify("-verify_ip", address, "certs/shop.localhost.crt").returncode == 0
    assert verify("-verify_hostname", "other.localhost", "certs/shop.localhost.crt").returncode != 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs / "shop.localhost.crt", certs / "shop.localhost.key")


def test_keys_are_for_their_owner_whatever_the_umask(ingressd: Any, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ingressd("certs", "dev", "a.localhost", "--secret", "a-tls")
    finally:
        os.umask(before)
    certs = tmp_path / "certs"
    assert mode_of(certs) == 0o700
    assert {path.name: mode_of(path) for path in certs.iterdir()} == {
        "ca.crt": 0o644,
        "ca.key": 0o600,
        "a.localhost.crt": 0o644,
        "a.localhost.key": 0o600,
        "a-tls.yaml": 0o600,
    }


def test_it_says_what_it_made_and_how_to_trust_it(ingressd: Any) -> None:
    out = ingressd("certs", "dev", "a.localhost", "b.localhost").out
    assert re.match(r"certs/ca\.crt: development CA, made now, until 20\d\d-\d\d-\d\d\n", out)
    assert "certs/a.localhost.crt: certificate for a.localhost, b.localhost, until 20" in out
    for words in (
        "ingressd run DIR... --certificate certs/a.localhost.crt:certs/a.localhost.key",
        "curl --cacert certs/ca.crt https://a.localhost:8443/",
        "update-ca-certificates",
        "add-trusted-cert",
        "Firefox",
    ):
        assert words in out


def test_the_authority_is_kept_and_the_leaf_is_replaced(ingressd: Any, tmp_path: Path) -> None:
    ingressd("certs", "dev", "a.localhost")
    certs = tmp_path / "certs"
    authority, leaf = (certs / "ca.crt").read_bytes(), (certs / "a.localhost.crt").read_bytes()
    assert "development CA, kept," in ingressd("certs", "dev", "a.localhost").out
    assert (certs / "ca.crt").read_bytes() == authority
    assert (certs / "a.localhost.crt").read_bytes() != leaf
    assert verify("certs/a.localhost.crt").returncode == 0


def test_the_secret_is_what_a_cluster_takes(ingressd: Any, tmp_path: Path) -> None:
    done = ingressd("certs", "dev", "a.localhost", "--secret", "a-tls", "--namespace", "shop")
    assert "certs/a-tls.yaml: the Secret a-tls" in done.out
    secret = yaml.safe_load((tmp_path / "certs/a-tls.yaml").read_text())
    assert (secret["apiVersion"], secret["kind"], secret["type"]) == ("v1", "Secret", "kubernetes.io/tls")
    assert secret["metadata"] == {"name": "a-tls", "namespace": "shop"}
    for key, file in (("tls.crt", "a.localhost.crt"), ("tls.key", "a.localhost.key")):
        assert base64.b64decode(secret["data"][key]) == (tmp_path / "certs" / file).read_bytes()
    assert ingressd("certs", "dev", "a.localhost", "--secret", "a-tls").code == 0
    assert yaml.safe_load((tmp_path / "certs/a-tls.yaml").read_text())["metadata"] == {"name": "a-tls"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a_b.localhost"], "HOST: 'a_b.localhost' must be labels of lower-case letters"),
        (["a.localhost:8443"], "HOST: 'a.localhost:8443' must be a DNS name without a port"),
        (["*"], "HOST: '*' must be a DNS name, or `*.` and a DNS name"),
        (["bücher.localhost"], "HOST: 'bücher.localhost' is not ASCII: write it in its xn-- form"),
        (["ca"], "HOST: certs/ca.crt is the CA itself: name another host first"),
        (["a.localhost", "--secret", "A"], "--secret: 'A' must be labels of lower-case letters"),
        (["a.localhost", "--secret", "a", "--namespace", "b.c"], "--namespace: 'b.c' must be"),
        (["a.localhost", "--namespace", "b"], "--namespace is the namespace of a Secret: it needs --secret NAME"),
    ],
)
def test_a_wrong_name_is_one_line_and_makes_nothing(
    ingressd: Any, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = ingressd("certs", "dev", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


def _expired(certs: Path) -> None:
    pem = make_authority(datetime.now(UTC) - timedelta(days=AUTHORITY_DAYS)).pem
    (certs / "ca.crt").write_bytes(pem.chain_pem)
    (certs / "ca.key").write_bytes(pem.key_pem)


def _foreign_key(certs: Path) -> None:
    (certs / "ca.key").write_bytes(make_authority(datetime.now(UTC)).pem.key_pem)


def _garbage(certs: Path) -> None:
    (certs / "ca.crt").write_bytes(b"not PEM")


def _no_key(certs: Path) -> None:
    (certs / "ca.key").unlink()


def _no_certificate(certs: Path) -> None:
    (certs / "ca.crt").unlink()


def _folder(certs: Path) -> None:
    (certs / "ca.key").unlink()
    (certs / "ca.key").mkdir()


def _leaf(certs: Path) -> None:
    (certs / "ca.crt").write_bytes((certs / "a.localhost.crt").read_bytes())
    (certs / "ca.key").write_bytes((certs / "a.localhost.key").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_expired, "certs/ca.crt: the CA's certificate has expired on 20"),
        (_foreign_key, "certs/ca.crt: the CA's key belongs to another certificate"),
        (_garbage, "certs/ca.crt: the CA's certificate is not a PEM certificate"),
        (_no_key, "certs/ca.crt is there, but certs/ca.key is not"),
        (_no_certificate, "certs/ca.key is there, but certs/ca.crt is not"),
        (_folder, "cannot read the CA: certs/ca.key: not a file"),
        (_leaf, "certs/ca.crt: the CA's certificate is not one of a CA"),
    ],
)
def test_an_authority_that_cannot_be_used_is_named_and_never_replaced(
    ingressd: Any, tmp_path: Path, spoil: Any, message: str
) -> None:
    ingressd("certs", "dev", "a.localhost")
    certs = tmp_path / "certs"
    spoil(certs)
    before = {path.name: path.read_bytes() for path in certs.iterdir() if path.is_file()}
    done = ingressd("certs", "dev", "a.localhost")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert "move certs/ca.crt and certs/ca.key away to get a new CA" in done.err
    assert {path.name: path.read_bytes() for path in certs.iterdir() if path.is_file()} == before


def test_files_that_ingressd_did_not_make_are_left_alone(ingressd: Any, tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    for name in ("a.localhost.crt", "b.localhost.key", "web.yaml"):
        (certs / name).write_text("mine\n")
    for host in ("a.localhost", "b.localhost"):
        done = ingressd("certs", "dev", host)
        assert done.code == 2
        assert f"certs/{host}.crt:certs/{host}.key were not made by ingressd, and are left alone" in done.err
    done = ingressd("certs", "dev", "c.localhost", "--secret", "web")
    assert (done.code, "certs/web.yaml was not made by ingressd" in done.err) == (2, True)
    for name in ("a.localhost.crt", "b.localhost.key", "web.yaml"):
        assert (certs / name).read_text() == "mine\n"


def test_a_folder_that_cannot_be_made_is_named(ingressd: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = ingressd("certs", "dev", "a.localhost", "--dir", "file/certs")
    assert (done.code, done.err) == (2, "ingressd: cannot make the folder file/certs: Not a directory\n")


def test_names_of_files_have_neither_stars_nor_colons() -> None:
    assert [file_name(host) for host in ("a.example", "*.a.example", "::1")] == [
        "a.example",
        "_wildcard.a.example",
        "__1",
    ]
