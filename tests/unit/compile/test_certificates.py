"""Certificates with real keys: which are usable, which is served when one stops being so, and for which hosts."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from ingressd.compile.certificates import TlsTable, covers, load_certificate
from ingressd.compile.compiler import Compiler, compile_snapshot
from ingressd.compile.options import Certificates, PemPair
from ingressd.errors import Severity
from ingressd.table.certificate import Certificate
from ingressd.table.snapshot import Snapshot
from tests.unit.compile.manifests import NOW, codes, compiled, ingress, options, parsed, rule, tls_secret

LATER = NOW + timedelta(days=365)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PEM, NO_PASSPHRASE = serialization.Encoding.PEM, serialization.NoEncryption()
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


@cache
def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


BEGUN = datetime(2020, 1, 1, tzinfo=UTC)


def _chain(key: Key, *names: str, until: datetime = LATER, begin: datetime = BEGUN) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "not.a.name.test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(until)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()).public_bytes(PEM)


def _pem(key: Key, form: serialization.PrivateFormat = PKCS8) -> bytes:
    return key.private_bytes(PEM, form, NO_PASSPHRASE)


def _pair(*names: str, until: datetime = LATER, begin: datetime = BEGUN) -> tuple[bytes, bytes]:
    return _chain(_ec_key(), *names, until=until, begin=begin), _pem(_ec_key())


def _loaded(chain: bytes, key: bytes, origin: str = "default/tls") -> Certificate:
    certificate = load_certificate(chain, key, origin)
    assert isinstance(certificate, Certificate)
    return certificate


# What can be used.


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["EC", "RSA", "Ed25519"],
)
def test_a_certificate_is_what_its_leaf_says_and_tls_can_use_it(make: Callable[[], Key], tmp_path: Path) -> None:
    key = make()
    chain = _chain(key, "Shop.Test", "*.shop.test")
    certificate = _loaded(chain, _pem(key))
    assert certificate.names == ("shop.test", "*.shop.test")
    assert certificate.not_after == LATER.timestamp()
    assert certificate.fingerprint == hashlib.sha256(ssl.PEM_cert_to_DER_cert(chain.decode())).hexdigest()
    assert (certificate.chain_pem, certificate.key_pem, certificate.origin) == (chain, _pem(key), "default/tls")
    files = tmp_path / "chain.pem", tmp_path / "key.pem"
    files[0].write_bytes(certificate.chain_pem)
    files[1].write_bytes(certificate.key_pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*files)


def test_a_chain_speaks_by_its_first_certificate() -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("shop.test")
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems) + authority.cert_pem.bytes()
    assert _loaded(chain, leaf.private_key_pem.bytes()).names == ("shop.test",)
    assert "does not belong" in str(
        load_certificate(authority.cert_pem.bytes() + chain, leaf.private_key_pem.bytes(), "")
    )


def test_keys_as_openssl_writes_them_are_read() -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    chain = _chain(_ec_key(), "shop.test")
    assert _loaded(chain, parameters + _pem(_ec_key(), TRADITIONAL)).names == ("shop.test",)
    assert _loaded(b"subject=CN = shop.test\n" + chain.replace(b"\n", b"\r\n"), _pem(_ec_key())).names == ("shop.test",)


@pytest.mark.parametrize(
    ("chain", "key", "problem"),
    [
        (b"", _pem(_ec_key()), "tls.crt is no PEM certificate"),
        (_chain(_ec_key()), b"", "tls.key is no PEM private key"),
        (_chain(_ec_key()), _chain(_ec_key()), "tls.key is no PEM private key"),
        (_chain(_ec_key())[:120], _pem(_ec_key()), "tls.crt cannot be read as a certificate"),
        (_chain(_ec_key()), _pem(_ec_key())[:60], "tls.key cannot be read as a private key"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            _pem(_ec_key()),
            "tls.crt cannot be read as a certificate",
        ),
        (_chain(_ec_key()), _pem(_other_key()), "tls.key does not belong to tls.crt"),
        (
            _chain(_ec_key()),
            _ec_key().private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"passphrase")),
            "tls.key is encrypted: store it without a passphrase",
        ),
    ],
)
def test_what_is_wrong_with_a_pair_is_said_in_words_that_quote_nothing(chain: bytes, key: bytes, problem: str) -> None:
    assert load_certificate(chain, key, "default/tls") == problem


def test_an_rsa_key_that_tls_libraries_refuse_is_refused_with_its_size() -> None:
    key = rsa.generate_private_key(65537, 1024)
    problem = load_certificate(_chain(key, "shop.test"), _pem(key), "")
    assert isinstance(problem, str)
    assert "1024 bits" in problem


def test_the_common_name_is_no_name() -> None:
    assert _loaded(*_pair()).names == ()


def test_a_key_is_never_shown() -> None:
    chain, key = _pair("shop.test")
    pair = PemPair("chain.pem", "key.pem", chain, key)
    compilation = compiled(
        tls_secret("tls", chain, key),
        ingress(tls=[{"hosts": ["shop.test"], "secretName": "tls"}], rules=[rule("shop.test")]),
        certificates=Certificates(pairs=(pair,)),
    )
    secret = key.decode().splitlines()[1]
    for value in (compilation, compilation.snapshot.certificates, pair, compilation.resources.secrets):
        assert secret not in repr(value)


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (("shop.test",), "shop.test", True),
        (("shop.test",), "www.shop.test", False),
        (("*.shop.test",), "www.shop.test", True),
        (("*.shop.test",), "*.shop.test", True),
        (("*.shop.test",), "shop.test", False),
        (("*.shop.test",), "a.b.shop.test", False),
        (("www.shop.test",), "*.shop.test", False),
        (("*.b.shop.test",), "a.b.shop.test", True),
        ((), "shop.test", False),
    ],
)
def test_a_certificate_covers_its_names_and_a_wildcard_one_label(
    names: tuple[str, ...], host: str, covered: bool
) -> None:
    assert covers(_loaded(*_pair(*names)), host) is covered


def test_tls_of_a_wildcard_is_tls_of_the_hosts_under_it() -> None:
    table = TlsTable(hosts={"*.shop.test", "pay.test"})
    assert [host for host in ("www.shop.test", "*.shop.test", "pay.test") if table.has(host)] == [
        "www.shop.test",
        "*.shop.test",
        "pay.test",
    ]
    assert not any(table.has(host) for host in ("shop.test", "a.b.shop.test", "*.pay.test", "www.pay.test", ""))


# What is served when a Secret changes.


def _shop(chain: bytes, key: bytes, hosts: tuple[str, ...] = ("shop.test",), **changes: Any) -> Any:
    return compiled(
        tls_secret("tls", chain, key),
        ingress(tls=[{"hosts": list(hosts), "secretName": "tls"}], rules=[rule("shop.test")]),
        **changes,
    )


@pytest.mark.parametrize("hosts", [("shop.test",), ()], ids=["for a host", "without hosts"])
@pytest.mark.parametrize(
    ("chain", "key", "code"),
    [
        (_chain(_ec_key(), "shop.test"), _pem(_other_key()), "certificate_unusable"),
        (b"half of a fi", b"", "certificate_unusable"),
        (*_pair("shop.test", until=NOW - timedelta(days=3)), "certificate_expired"),
    ],
    ids=["another key", "half written", "expired"],
)
def test_a_secret_that_can_no_longer_be_used_keeps_its_certificate(
    chain: bytes, key: bytes, code: str, hosts: tuple[str, ...]
) -> None:
    before = _shop(*_pair("shop.test"), hosts).snapshot
    after = _shop(chain, key, hosts, previous=before)
    assert after.snapshot.certificates == before.certificates != {}
    assert after.snapshot.certificates["shop.test"] is before.certificates["shop.test"]
    assert codes(after) == [code]
    assert _shop(chain, key, hosts).snapshot.certificates == {}


def test_a_secret_that_loses_a_host_keeps_its_certificate_there_until_it_expires() -> None:
    before = _shop(*_pair("shop.test", until=NOW + timedelta(days=30))).snapshot
    other = _pair("other.test")
    after = _shop(*other, previous=before)
    assert after.snapshot.certificates == before.certificates
    assert codes(after) == ["certificate_host_mismatch"]
    later = _shop(*other, previous=before, now=NOW + timedelta(days=31))
    assert later.snapshot.certificates == {}


def test_what_another_secret_gave_before_is_not_kept() -> None:
    before = compiled(
        tls_secret("former", *_pair("shop.test")),
        ingress(tls=[{"hosts": ["shop.test"], "secretName": "former"}], rules=[rule("shop.test")]),
    ).snapshot
    assert before.certificates
    assert _shop(b"x", b"y", previous=before).snapshot.certificates == {}


def test_a_secret_that_is_removed_takes_its_certificate_along() -> None:
    before = _shop(*_pair("shop.test")).snapshot
    after = compiled(
        ingress(tls=[{"hosts": ["shop.test"], "secretName": "tls"}], rules=[rule("shop.test")]), previous=before
    )
    assert after.snapshot.certificates == {}
    assert codes(after) == ["secret_missing"]


def test_a_new_certificate_takes_over_at_once() -> None:
    before = _shop(*_pair("shop.test")).snapshot
    renewed = _pair("shop.test", until=LATER + timedelta(days=90))
    after = _shop(*renewed, previous=before).snapshot
    assert after.certificates["shop.test"].not_after > before.certificates["shop.test"].not_after


@pytest.mark.parametrize(
    ("left", "code", "words"),
    [
        (timedelta(days=15), None, ""),
        (timedelta(days=13, hours=23), "certificate_expires_soon", "expires in 13 days"),
        (timedelta(days=1), "certificate_expires_soon", "expires in 24 hours"),
        (timedelta(minutes=5), "certificate_expires_soon", "expires in 5 minutes"),
        (timedelta(0), "certificate_expired", "expired 0 minutes ago"),
        (timedelta(hours=-3), "certificate_expired", "expired 3 hours ago"),
    ],
)
def test_the_end_of_a_certificate_is_announced_two_weeks_before(left: timedelta, code: str | None, words: str) -> None:
    compilation = _shop(*_pair("shop.test", until=NOW + left))
    assert codes(compilation) == ([] if code is None else [code])
    assert all(words in fault.message for fault in compilation.faults)
    assert bool(compilation.snapshot.certificates) is (left > timedelta(0))


@pytest.mark.parametrize(
    ("begins_in", "words"),
    [
        (timedelta(days=3), "is valid only in 3 days"),
        (timedelta(hours=5), "is valid only in 5 hours"),
        (timedelta(minutes=4), ""),  # the clocks of two machines differ
        (timedelta(0), ""),
    ],
)
def test_a_certificate_that_is_not_valid_yet_is_told_and_served_if_there_is_no_other(
    begins_in: timedelta, words: str
) -> None:
    new = _pair("shop.test", until=LATER + timedelta(days=90), begin=NOW + begins_in)
    compilation = _shop(*new)
    assert codes(compilation) == (["certificate_not_yet_valid"] if words else [])
    assert all(words in fault.message and fault.severity == Severity.WARNING for fault in compilation.faults)
    assert compilation.snapshot.certificates["shop.test"].chain_pem == new[0]
    old = _pair("shop.test")
    before = _shop(*old).snapshot
    expected = old[0] if words else new[0]
    assert _shop(*new, previous=before).snapshot.certificates["shop.test"].chain_pem == expected


def test_a_file_whose_certificate_is_not_valid_yet_waits_for_its_time() -> None:
    old, new = _files("shop.test"), PemPair("site.pem", "site.key", *_pair("shop.test", begin=NOW + timedelta(days=1)))
    before = compiled(certificates=Certificates(default=old)).snapshot
    after = compiled(certificates=Certificates(default=new), previous=before)
    assert codes(after) == ["certificate_not_yet_valid"]
    assert after.snapshot.default_certificate == before.default_certificate
    alone = compiled(certificates=Certificates(default=new)).snapshot.default_certificate
    assert alone is not None
    assert alone.chain_pem == new.chain_pem


@pytest.mark.parametrize("jump", [timedelta(days=4000), timedelta(days=-4000)], ids=["forward", "backward"])
def test_a_clock_that_jumps_and_comes_back_changes_nothing_for_good(jump: timedelta) -> None:
    objects = parsed(
        "\n---\n".join(
            json.dumps(each)
            for each in (
                tls_secret("tls", *_pair("shop.test")),
                ingress(tls=[{"hosts": ["shop.test"], "secretName": "tls"}], rules=[rule("shop.test")]),
            )
        )
    )
    compiler = Compiler()
    before = compiler.compile(objects, {}, options())
    wrong = compiler.compile(objects, {}, options(now=NOW + jump), before.snapshot)
    assert len(wrong.faults) == len(before.faults) + 1
    after = compiler.compile(objects, {}, options(), wrong.snapshot)
    assert after.snapshot.certificates == before.snapshot.certificates != {}
    assert after.faults == before.faults


def test_a_secret_is_judged_once_however_many_hosts_use_it() -> None:
    names = [f"h{number}.test" for number in range(20)]
    compilation = compiled(
        tls_secret("tls", *_pair(*names, until=NOW + timedelta(days=2))),
        *(
            ingress(f"i{number}", tls=[{"hosts": [name], "secretName": "tls"}], rules=[rule(name)])
            for number, name in enumerate(names)
        ),
    )
    assert codes(compilation) == ["certificate_expires_soon"]
    assert sorted(compilation.snapshot.certificates) == sorted(names)
    assert len(set(map(id, compilation.snapshot.certificates.values()))) == 1


def test_the_older_ingress_decides_also_when_both_are_on_one_line() -> None:
    objects = [
        tls_secret("one", *_pair("shop.test")),
        tls_secret("two", *_pair("shop.test", until=LATER + timedelta(days=1))),
        ingress("b", tls=[{"hosts": ["shop.test"], "secretName": "two"}], rules=[rule("shop.test")]),
        ingress("a", tls=[{"hosts": ["shop.test"], "secretName": "one"}], rules=[rule("shop.test")]),
    ]
    line = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    compilation = compile_snapshot(parsed(line), {}, options())
    assert compilation.snapshot.certificates["shop.test"].origin == "default/one"
    assert codes(compilation) == ["certificate_conflict"]


# Certificates that the operator gives as files.


def _files(*names: str, until: datetime = LATER, file: str = "site.pem") -> PemPair:
    return PemPair(file, "site.key", *_pair(*names, until=until))


UNREADABLE = PemPair("site.pem", "site.key", problem="site.pem: no such file")


def test_files_serve_the_names_that_no_secret_serves() -> None:
    compilation = _shop(*_pair("shop.test"), certificates=Certificates(pairs=(_files("shop.test", "other.test"),)))
    origins = {name: each.origin for name, each in compilation.snapshot.certificates.items()}
    assert origins == {"shop.test": "default/tls", "other.test": "site.pem"}


def test_a_file_that_cannot_be_read_is_a_fault_and_the_one_before_stays() -> None:
    before = compiled(certificates=Certificates(pairs=(_files("shop.test"),))).snapshot
    after = compiled(certificates=Certificates(pairs=(UNREADABLE,)), previous=before)
    assert after.snapshot.certificates == before.certificates != {}
    (fault,) = after.faults
    assert (fault.severity, fault.code, fault.file) == (Severity.ERROR, "certificate_unusable", "site.pem")
    assert fault.message == "--certificate: site.pem: no such file"
    assert compiled(certificates=Certificates(pairs=(UNREADABLE,))).snapshot.certificates == {}


def test_a_key_file_that_others_can_read_is_told_and_served() -> None:
    pair = replace(_files("shop.test"), key_mode=0o644)
    compilation = compiled(certificates=Certificates(pairs=(pair,), default=pair))
    assert sorted(compilation.snapshot.certificates) == ["shop.test"]
    assert [(fault.severity, fault.code, fault.file) for fault in compilation.faults] == [
        (Severity.WARNING, "key_file_open", "site.key")
    ] * 2
    assert compilation.faults[0].message == (
        "--certificate: site.key can be read by other users of this machine (mode 0644)"
    )
    assert compilation.faults[0].hint == "chmod 600 site.key"
    assert compilation.faults[1].message.startswith("--default-certificate: ")


def test_a_file_whose_certificate_expired_is_not_served() -> None:
    expired = _files("shop.test", until=NOW - timedelta(days=1))
    compilation = compiled(certificates=Certificates(pairs=(expired,)))
    assert compilation.snapshot.certificates == {}
    assert codes(compilation) == ["certificate_expired"]


def test_the_default_certificate_is_the_operators_then_the_one_before_then_the_self_made() -> None:
    self_made = _loaded(*_pair("self.test"), origin="self-made")
    given = Certificates(default=_files("shop.test"), self_made=self_made)
    broken = Certificates(default=UNREADABLE, self_made=self_made)

    def default(certificates: Certificates, previous: Snapshot | None = None) -> Snapshot:
        return compiled(certificates=certificates, previous=previous).snapshot

    first = default(given)
    assert first.default_certificate is not None
    assert first.default_certificate.origin == "site.pem"
    assert first.certificates == {}
    assert default(broken, first).default_certificate is first.default_certificate
    assert default(broken).default_certificate is self_made
    assert default(Certificates(self_made=self_made), first).default_certificate is self_made
    assert default(Certificates()).default_certificate is None
