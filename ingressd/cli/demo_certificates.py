"""Certificates of the demo: one for all hosts of the examples, and the Secrets that they name but do not have.

In: the folder of the examples, a folder to write to. Out: files there, and the development CA in certs/ of the current
directory. Nothing is written into the examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ingressd.cli.certs import FOLDER, PRIVATE, open_authority, secret_manifest, write_pair, write_secrets
from ingressd.errors import StartupError

if TYPE_CHECKING:
    from ingressd.model.ingress import Ingress
    from ingressd.model.resource import Resource
    from ingressd.model.resource_set import ResourceSet

NAME = "examples"
SECRETS = "secrets.yaml"
ALWAYS = ("localhost", "127.0.0.1", "::1")
"""For whoever asks the demo by no name of the examples."""
CONTAINER_FOLDER = "proxy"
"""In certs/: what docker-compose.yml mounts."""
READABLE = 0o644
"""For the user of the image, who owns nothing here. certs/ itself keeps everybody else out: certs/README.md."""


def make_certificates(examples: Path, folder: Path, mode: int = PRIVATE) -> str:
    """Write examples.crt, examples.key and secrets.yaml to `folder`; returns CERT:KEY. Raises StartupError."""
    from ingressd.sources.files import FileSource

    now = datetime.now(UTC)
    resources = FileSource((str(examples),)).load()
    authority = open_authority(Path(FOLDER), now).authority
    hosts = sorted({host for ingress in resources.ingresses for host in _hosts(ingress.object)})
    pair = write_pair(folder, NAME, authority.issue([*hosts, *ALWAYS], now), mode)
    manifests = [
        secret_manifest(name, namespace, authority.issue(names, now))
        for (namespace, name), names in sorted(_missing_secrets(resources).items())
    ]
    write_secrets(folder / SECRETS, manifests, mode)
    return str(pair)


def make_container_certificates(examples: Path) -> str:
    """The same in certs/proxy, readable for the user of a container. Raises StartupError."""
    from ingressd.sources.certificate_files import PRIVATE_FOLDER, PUBLIC_FOLDER, make_folder

    folder = Path(FOLDER) / CONTAINER_FOLDER
    try:
        make_folder(folder.parent, PRIVATE_FOLDER, enforce=True)
        make_folder(folder, PUBLIC_FOLDER, enforce=True)
    except OSError as error:
        raise StartupError(f"cannot make {folder} in a folder of our own: {error.strerror}") from None
    return make_certificates(examples, folder, READABLE)


def _missing_secrets(resources: ResourceSet) -> dict[tuple[str, str], list[str]]:
    """Secrets of spec.tls that are in no file, and the hosts that they are for."""
    missing: dict[tuple[str, str], list[str]] = {}
    for ingress in resources.ingresses:
        for name, hosts in _secrets(ingress):
            if (ingress.namespace, name) not in resources.secrets:
                known = missing.setdefault((ingress.namespace, name), [])
                known += [host for host in hosts if host not in known]
    return missing


def _secrets(ingress: Resource[Ingress]) -> Iterator[tuple[str, list[str]]]:
    for tls in ingress.object.spec.tls:
        if tls.secret_name:
            # Without hosts it is for all of the Ingress; one that has none is asked for by any name.
            yield tls.secret_name, [*tls.hosts] or sorted(set(_hosts(ingress.object))) or [*ALWAYS]


def _hosts(ingress: Ingress) -> Iterator[str]:
    yield from (rule.host for rule in ingress.spec.rules if rule.host)
    for tls in ingress.spec.tls:
        yield from tls.hosts
