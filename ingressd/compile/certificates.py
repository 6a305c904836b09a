"""Certificates: Secrets and files become what handshakes are answered with.

In: PEM. Out: Certificates by host, and which hosts have TLS. A certificate that cannot be used costs its host nothing
but the certificate: the one before it is served, else the default one, and a fault says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID

from ingressd.compile.kept import Kept
from ingressd.compile.options import CompileOptions, PemPair
from ingressd.errors import Fault, Severity
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.secret import Secret
from ingressd.model.shape import Loc
from ingressd.routing.paths import wildcard_of
from ingressd.table.certificate import Certificate
from ingressd.table.route import ANY_HOST
from ingressd.table.snapshot import Snapshot

SOON_S = 14 * 86_400
"""ACME clients renew 30 days before the end: with 14 left, something does not work."""
SKEW_S = 300
"""The clocks of two machines may differ by so much before a certificate counts as one of the future."""
RSA_BITS = 2048
"""OpenSSL's security level 2, which distributions build with, refuses less."""


@dataclass(slots=True)
class TlsTable:
    """What TLS there is."""

    hosts: set[str] = field(default_factory=set)
    """Hosts that some Ingress lists under spec.tls, as they are written there."""
    certificates: dict[str, Certificate] = field(default_factory=dict)
    """By host or `*.` wildcard."""
    default: Certificate | None = None

    def has(self, host: str) -> bool:
        """Whether requests for `host`, as a rule writes it, may come by HTTPS of its own."""
        return host in self.hosts or wildcard_of(host) in self.hosts


def compile_tls(
    ingresses: Iterable[Resource[Ingress]],
    resources: ResourceSet,
    options: CompileOptions,
    previous: Snapshot | None,
    faults: list[Fault],
    kept: Kept[Resource[Secret], Certificate | Fault],
) -> TlsTable:
    """Walk spec.tls of the Ingresses in their order; the first to name a host decides about it."""
    compiler = _TlsCompiler(resources, options, previous, faults, kept)
    for ingress in ingresses:
        compiler.take(ingress)
    compiler.finish()
    return compiler.table


class _TlsCompiler:
    def __init__(
        self,
        resources: ResourceSet,
        options: CompileOptions,
        previous: Snapshot | None,
        faults: list[Fault],
        kept: Kept[Resource[Secret], Certificate | Fault],
    ) -> None:
        self.table = TlsTable(default=options.certificates.self_made)
        self._resources = resources
        self._options = options
        self._now = options.now.timestamp()
        before = previous or Snapshot()
        self._before = before.certificates
        self._default_before = before.default_certificate
        self._faults = faults
        self._kept = kept
        self._judged: dict[tuple[str, str], Certificate | None] = {}
        self._decided: dict[str, tuple[Resource[Ingress], Loc]] = {}
        """Host -> where the Secret was named that it has its certificate of."""
        self._unassigned: list[tuple[str, Certificate | None]] = []
        """Secrets that were named without a host."""

    def take(self, ingress: Resource[Ingress]) -> None:
        """Everything under spec.tls of one Ingress."""
        rules = [rule.host for rule in ingress.object.spec.rules] or [ANY_HOST]
        for index, tls in enumerate(ingress.object.spec.tls):
            loc: Loc = ("spec", "tls", index)
            self.table.hosts.update(tls.hosts or rules)
            if not tls.secret_name:
                continue
            found = self._secret(ingress, tls.secret_name, (*loc, "secretName"))
            if found is None:
                continue
            secret, certificate = found
            for place, host in enumerate(tls.hosts):
                self._assign(ingress, host, (*loc, "hosts", place), secret, certificate)
            if not tls.hosts:
                self._unassigned.append((f"{secret.namespace}/{secret.name}", certificate))

    def finish(self) -> None:
        """Certificates of which no Ingress says a host: they are served for their names, where nothing else is."""
        for origin, certificate in self._unassigned:
            names = () if certificate is None else certificate.names
            for name in names or [name for name, before in self._before.items() if before.origin == origin]:
                self._serve(name, self._better(name, origin, certificate))
        for pair in self._options.certificates.pairs:
            certificate = self._file(pair, "--certificate")
            for name in () if certificate is None else certificate.names:
                self._serve(name, certificate)
        default = self._options.certificates.default
        if default is not None:
            self.table.default = self._file(default, "--default-certificate") or self.table.default

    def _serve(self, name: str, certificate: Certificate | None) -> None:
        if certificate is not None:
            self.table.certificates.setdefault(name, certificate)

    def _secret(
        self, ingress: Resource[Ingress], name: str, loc: Loc
    ) -> tuple[Resource[Secret], Certificate | None] | None:
        secret = self._resources.secrets.get((ingress.namespace, name))
        if secret is None:
            self._faults.append(
                ingress.fault(
                    Severity.WARNING,
                    "secret_missing",
                    f"there is no Secret {ingress.namespace}/{name}: the default certificate is served",
                    _elsewhere(self._resources, ingress.namespace, name),
                    loc,
                )
            )
            return None
        key = (ingress.namespace, name)
        if key not in self._judged:
            self._judged[key] = self._judge(secret)
        return secret, self._judged[key]

    def _judge(self, secret: Resource[Secret]) -> Certificate | None:
        """The Secret's certificate, if ssl can use it."""
        read = self._kept.before(secret)
        certificate = self._kept.keep(secret, _read(secret) if read is None else read)
        if isinstance(certificate, Fault):
            self._faults.append(certificate)
            return None
        for severity, code, message in self._times(certificate):
            self._faults.append(_secret_fault(secret, severity, code, f": {message}"))
        return certificate

    def _assign(
        self,
        ingress: Resource[Ingress],
        host: str,
        loc: Loc,
        secret: Resource[Secret],
        certificate: Certificate | None,
    ) -> None:
        origin = f"{secret.namespace}/{secret.name}"
        decided = self._decided.get(host)
        if decided is not None:
            by = decided[0].place(*decided[1])
            served = self.table.certificates[host]
            if certificate is not None and served.fingerprint != certificate.fingerprint:
                self._faults.append(
                    ingress.fault(
                        Severity.WARNING,
                        "certificate_conflict",
                        f"{host} has the certificate of {served.origin} already, by {by}: this one is not served",
                        "name one Secret for a host",
                        loc,
                    )
                )
            return
        if certificate is not None and not covers(certificate, host):
            names = ", ".join(certificate.names[:5]) or "no name at all"
            self._faults.append(
                ingress.fault(
                    Severity.ERROR,
                    "certificate_host_mismatch",
                    f"the certificate of Secret {origin} is for {names}, not for {host}: it is not served there",
                    f"make one that has {host} among its subjectAltNames",
                    loc,
                )
            )
            certificate = None
        certificate = self._better(host, origin, certificate)
        if certificate is not None:
            self._decided[host] = (ingress, loc)
            self.table.certificates[host] = certificate

    def _better(self, host: str, origin: str, certificate: Certificate | None) -> Certificate | None:
        """The certificate itself, or the one that the same Secret gave before, or none if neither is good."""
        return self._first_valid(certificate, (self._before.get(host),), origin)

    def _first_valid(
        self, certificate: Certificate | None, before: Iterable[Certificate | None], origin: str
    ) -> Certificate | None:
        """One that is valid only later is better than none: the clock that is wrong may be ours."""
        good = [each for each in (certificate, *before) if each is not None and self._still_good(each, origin)]
        return next((each for each in good if not self._of_the_future(each)), good[0] if good else None)

    def _of_the_future(self, certificate: Certificate) -> bool:
        return certificate.not_before > self._now + SKEW_S

    def _still_good(self, certificate: Certificate | None, origin: str) -> bool:
        return certificate is not None and certificate.origin == origin and certificate.not_after > self._now

    def _file(self, pair: PemPair, option: str) -> Certificate | None:
        if pair.key_mode:
            message = f"{option}: {pair.key_file} can be read by other users of this machine (mode {pair.key_mode:04o})"
            hint = f"chmod 600 {pair.key_file}"
            self._faults.append(
                Fault(Severity.WARNING, "key_file_open", "", "", "", pair.key_file, 1, 1, message, hint)
            )
        loaded: Certificate | str = pair.problem or load_certificate(pair.chain_pem, pair.key_pem, pair.chain_file)
        certificate = None if isinstance(loaded, str) else loaded
        if isinstance(loaded, str):
            self._faults.append(_file_fault(Severity.ERROR, "certificate_unusable", pair, f"{option}: {loaded}"))
        else:
            for severity, code, message in self._times(loaded):
                self._faults.append(_file_fault(severity, code, pair, f"{option}: {message}"))
        return self._first_valid(certificate, (self._default_before, *self._before.values()), pair.chain_file)

    def _times(self, certificate: Certificate) -> Iterator[tuple[Severity, str, str]]:
        left_s = certificate.not_after - self._now
        if self._of_the_future(certificate):
            valid_in = _days(certificate.not_before - self._now)
            yield Severity.WARNING, "certificate_not_yet_valid", f"the certificate is valid only in {valid_in}"
        if left_s <= 0:
            yield Severity.ERROR, "certificate_expired", f"the certificate expired {_days(-left_s)} ago"
        elif left_s < SOON_S:
            yield Severity.WARNING, "certificate_expires_soon", f"the certificate expires in {_days(left_s)}"


def _read(secret: Resource[Secret]) -> Certificate | Fault:
    """The Secret's certificate, or why there is none."""
    chain, key = (secret.object.value(name) for name in ("tls.crt", "tls.key"))
    if chain is None or key is None:
        missing = "tls.crt" if chain is None else "tls.key"
        return _secret_fault(secret, Severity.ERROR, "secret_no_certificate", f" has no {missing}")
    certificate = load_certificate(chain, key, f"{secret.namespace}/{secret.name}")
    if isinstance(certificate, str):
        return _secret_fault(secret, Severity.ERROR, "certificate_unusable", f": {certificate}")
    return certificate


def _secret_fault(secret: Resource[Secret], severity: Severity, code: str, what: str) -> Fault:
    hint = "the certificate before it is served, else the default one" if severity is Severity.ERROR else ""
    message = f"Secret {secret.namespace}/{secret.name}{what}"
    return secret.fault(severity, code, message, hint, ("metadata", "name"))


def _file_fault(severity: Severity, code: str, pair: PemPair, message: str) -> Fault:
    return Fault(severity, code, "", "", "", pair.chain_file, 1, 1, message, "the one before it is served, if any")


def _days(seconds: float) -> str:
    days, hours = int(seconds // 86_400), int(seconds // 3600)
    if days >= 2:
        return f"{days} days"
    return f"{hours} hours" if hours >= 2 else f"{int(seconds // 60)} minutes"


def _elsewhere(resources: ResourceSet, namespace: str, name: str) -> str:
    for other_namespace, other_name in sorted(resources.secrets):
        if other_name == name and other_namespace != namespace:
            return f"there is one in the namespace {other_namespace}: a Secret serves its own namespace only"
    return "add it, or make one for development with `ingressd certs dev`"


def covers(certificate: Certificate, host: str) -> bool:
    """Whether the certificate is for `host`; a wildcard covers one label (RFC 6125 section 6.4.3), and itself."""
    return host in certificate.names or wildcard_of(host) in certificate.names


@lru_cache(maxsize=32_768)
def load_certificate(chain_pem: bytes, key_pem: bytes, origin: str) -> Certificate | str:
    """The Certificate, or in words why there is none. Never quotes what is in the key."""
    if b"-----BEGIN CERTIFICATE-----" not in chain_pem:
        return "tls.crt is no PEM certificate"
    if not re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", key_pem):
        return "tls.key is no PEM private key"
    try:
        leaf = x509.load_pem_x509_certificates(chain_pem)[0]
    except (ValueError, x509.InvalidVersion):
        return "tls.crt cannot be read as a certificate"
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError:
        return "tls.key is encrypted: store it without a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        return "tls.key cannot be read as a private key"
    try:
        own = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "tls.crt has a key of an unknown kind"
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(encoding, form) != own.public_bytes(encoding, form):
        return "tls.key does not belong to tls.crt"
    if isinstance(own, rsa.RSAPublicKey) and own.key_size < RSA_BITS:
        return f"its RSA key of {own.key_size} bits is too short: TLS libraries refuse less than {RSA_BITS}"
    return Certificate(
        chain_pem=chain_pem,
        key_pem=key_pem,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        names=_names(leaf),
        not_after=leaf.not_valid_after_utc.timestamp(),
        origin=origin,
        not_before=leaf.not_valid_before_utc.timestamp(),
    )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return ()
    value = extension.value
    if not isinstance(value, x509.SubjectAlternativeName):
        return ()
    return tuple(name.lower() for name in value.get_values_for_type(x509.DNSName))
