"""`ingressd certs dev HOST...`: a local CA, made once and kept, and a certificate that it signs.

In: host names and a folder. Out: PEM files, on request a Secret with the same certificate, and in words how to trust
the CA. What is not ours is never written over.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingressd.cli.console import fail
from ingressd.errors import StartupError

if TYPE_CHECKING:
    from ingressd.sources.issuer import Authority, Issued

FOLDER = "certs"
AUTHORITY = "ca"
"""Name of the CA's two files."""
PRIVATE = 0o600
"""Mode of what holds a key."""

app = typer.Typer(help="Make certificates for development.", invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("dev", short_help="A local CA and a certificate that it signs.")
def dev(
    hosts: Annotated[
        list[str],
        typer.Argument(
            metavar="HOST...", help="DNS names, *.NAME for one more label, or addresses.", show_default=False
        ),
    ],
    directory: Annotated[str, typer.Option("--dir", metavar="DIR", help="Where they are kept.")] = FOLDER,
    secret: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also write DIR/NAME.yaml, a Secret of this name.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAMESPACE", help="The namespace of the Secret [default].")
    ] = None,
) -> None:
    """Make one certificate for HOST..., signed by a local CA.

    The CA is DIR/ca.crt and DIR/ca.key: made the first time, kept from then on, so that it has to be trusted only once.
    The certificate is DIR/HOST.crt and DIR/HOST.key, named after the first HOST; the next one for the same HOST
    replaces it.
    """
    names = _canonical(hosts)
    if secret is None and namespace is not None:
        fail("--namespace is the namespace of a Secret: it needs --secret NAME")
    if secret is not None:
        _check_secret(secret, namespace)
    folder, now = Path(directory), datetime.now(UTC)
    base = file_name(names[0])
    if base == AUTHORITY:
        fail(f"HOST: {folder / base}.crt is the CA itself: name another host first")
    authority = open_authority(folder, now)
    issued = authority.authority.issue(names, now)
    pair = write_pair(folder, base, issued)
    lines = [
        f"{folder / AUTHORITY}.crt: development CA, {authority.fate}, until {authority.until}",
        f"{pair.chain}: certificate for {', '.join(names)}, until {issued.not_after:%Y-%m-%d}",
        f"{pair.key}: its key",
    ]
    if secret is not None:
        manifest = folder / f"{secret}.yaml"
        write_secrets(manifest, [secret_manifest(secret, namespace, issued)])
        lines.append(f"{manifest}: the Secret {secret}, for spec.tls of an Ingress or `kubectl apply -f`")
    host = f"[{names[0]}]" if ":" in names[0] else names[0].replace("*", "any")
    print("\n".join([*lines, "", *_advice(folder, pair, host)]))


@dataclass(frozen=True, slots=True)
class OpenedAuthority:
    """The CA of a folder."""

    authority: Authority
    fate: str
    """`made now` or `kept`."""

    @property
    def until(self) -> str:
        """Its last day."""
        return f"{self.authority.certificate.not_valid_after_utc:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a certificate and its key are."""

    chain: Path
    key: Path

    def __str__(self) -> str:
        return f"{self.chain}:{self.key}"


def open_authority(folder: Path, now: datetime) -> OpenedAuthority:
    """The CA in `folder`; made when there is none. Raises StartupError when what is there is no usable CA."""
    from ingressd.sources.certificate_files import make_folder, read_pair
    from ingressd.sources.issuer import make_authority, read_authority

    files = PairFiles(folder / f"{AUTHORITY}.crt", folder / f"{AUTHORITY}.key")
    way_out = f"move {files.chain} and {files.key} away to get a new CA, or name another folder with --dir"
    # lexists: a dangling link is somebody's too.
    present = [path for path in (files.chain, files.key) if path.is_symlink() or path.exists()]
    if not present:
        try:
            make_folder(folder)
        except OSError as error:
            raise StartupError(f"cannot make the folder {folder}: {error.strerror}") from None
        made = make_authority(now)
        _write(files, made.pem, PRIVATE)
        return OpenedAuthority(made, "made now")
    if len(present) == 1:
        missing = files.key if present[0] == files.chain else files.chain
        raise StartupError(f"{present[0]} is there, but {missing} is not: {way_out}")
    chain_pem, key_pem, problem = read_pair(str(files.chain), str(files.key))
    if problem:
        raise StartupError(f"cannot read the CA: {problem}: {way_out}")
    try:
        return OpenedAuthority(read_authority(chain_pem, key_pem, now), "kept")
    except ValueError as mistake:
        raise StartupError(f"{files.chain}: the CA's {mistake}: {way_out}") from None


def write_pair(folder: Path, name: str, issued: Issued, key_mode: int = PRIVATE) -> PairFiles:
    """Write NAME.crt and NAME.key. Raises StartupError when there is a certificate that is not ours."""
    from ingressd.sources.certificate_files import read_pem
    from ingressd.sources.issuer import is_ours

    files = PairFiles(folder / f"{name}.crt", folder / f"{name}.key")
    try:
        ours = is_ours(read_pem(files.chain))
    except FileNotFoundError:
        ours = not files.key.exists()
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise StartupError(f"{files} were not made by ingressd, and are left alone: name another folder with --dir")
    _write(files, issued, key_mode)
    return files


def write_secrets(path: Path, manifests: Sequence[dict[str, Any]], mode: int = PRIVATE) -> None:
    """Write Secrets as one file. Raises StartupError, also when another file is there."""
    import yaml

    from ingressd.sources.certificate_files import write_file

    if path.exists() and not _our_secrets(path):
        raise StartupError(f"{path} was not made by ingressd, and is left alone: choose another name")
    text = yaml.safe_dump_all(manifests, sort_keys=False, explicit_start=len(manifests) > 1)
    try:
        write_file(path, text.encode(), mode)
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None


def _our_secrets(path: Path) -> bool:
    import yaml

    from ingressd.sources.certificate_files import read_pem
    from ingressd.sources.issuer import is_ours

    try:
        documents = list(yaml.load_all(read_pem(path), Loader=yaml.CSafeLoader))
        return all(is_ours(base64.b64decode(document["data"]["tls.crt"])) for document in documents)
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return False


def secret_manifest(name: str, namespace: str | None, issued: Issued) -> dict[str, Any]:
    """The Secret as `kubectl create secret tls` makes it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": base64.b64encode(issued.chain_pem).decode(),
            "tls.key": base64.b64encode(issued.key_pem).decode(),
        },
    }


def file_name(host: str) -> str:
    """`*.a.example` is `_wildcard.a.example`; no colon, which separates the two files of --certificate."""
    return host.replace("*", "_wildcard").replace(":", "_")


def _canonical(hosts: Sequence[str]) -> list[str]:
    from ingressd.sources.issuer import canonical_host

    try:
        return list(dict.fromkeys(canonical_host(host) for host in hosts))
    except ValueError as mistake:
        fail(f"HOST: {mistake}")


def _check_secret(secret: str, namespace: str | None) -> None:
    from ingressd.model import names

    if rule := names.subdomain(secret):
        fail(f"--secret: {secret!r} must be {rule}")
    if namespace is not None and (rule := names.label(namespace)):
        fail(f"--namespace: {namespace!r} must be {rule}")


def _write(files: PairFiles, issued: Issued, key_mode: int) -> None:
    from ingressd.sources.certificate_files import PUBLIC_FILE, write_file

    try:
        write_file(files.key, issued.key_pem, key_mode)
        write_file(files.chain, issued.chain_pem, PUBLIC_FILE)
    except OSError as error:
        raise StartupError(f"cannot write {files}: {error.strerror}") from None


def _advice(folder: Path, pair: PairFiles, host: str) -> list[str]:
    ca = folder / f"{AUTHORITY}.crt"
    return [
        "Serve it:",
        f"  ingressd run DIR... --certificate {pair}",
        "",
        "Trust the CA for one command:",
        f"  curl --cacert {ca} https://{host}:8443/",
        "or on this machine:",
        f"  Debian, Ubuntu  sudo cp {ca} /usr/local/share/ca-certificates/ingressd-dev.crt",
        "                  sudo update-ca-certificates",
        f"  macOS           sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {ca}",
        f"  Chrome (Linux)  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n ingressd-dev -i {ca}",
        "  Firefox         Settings, Privacy & Security, View Certificates, Authorities, Import",
        "",
        f"Who has {folder / AUTHORITY}.key can pose as any site to those who trust the CA: keep it here.",
    ]
