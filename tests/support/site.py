"""Site: a folder of manifests that tests edit, and what is written into it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import yaml

from ingressd.table.certificate import Certificate


class Listening(Protocol):
    """Whatever has a port on 127.0.0.1."""

    port: int


def ingress(name: str, host: str, *, secret: str = "", annotations: Mapping[str, str] | None = None) -> str:
    """An Ingress that sends everything for `host` to port 80 of the Service of its own name."""
    tls = f"\n  tls: [{{hosts: [{host!r}], secretName: {secret}}}]" if secret else ""
    noted = "".join(f"\n    {key}: {value!r}" for key, value in (annotations or {}).items())
    return f"""\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations: {noted or "{}"}
spec:
  ingressClassName: ingressd{tls}
  rules:
    - host: {host!r}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {{service: {{name: {name}, port: {{number: 80}}}}}}
"""


def service(name: str, target_port: int, *, annotations: Mapping[str, str] | None = None) -> str:
    """A Service whose endpoints are elsewhere."""
    noted = "".join(f"\n    {key}: {value!r}" for key, value in (annotations or {}).items())
    return f"""\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  annotations: {noted or "{}"}
spec:
  ports: [{{name: http, port: 80, targetPort: {target_port}}}]
"""


def endpoint_slices(name: str, *ports: int) -> str:
    """One EndpointSlice for each port on 127.0.0.1."""
    return "---\n".join(
        f"""\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{number}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: ["127.0.0.1"]}}]
"""
        for number, port in enumerate(ports, 1)
    )


def secret(name: str, certificate: Certificate) -> str:
    """A Secret of the type kubernetes.io/tls."""
    data = {"tls.crt": certificate.chain_pem, "tls.key": certificate.key_pem}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(pem).decode() for key, pem in data.items()},
        }
    )


def routed(name: str, host: str, *ports: int, secret: str = "", annotations: Mapping[str, str] | None = None) -> str:
    """All that `host` needs to be served by what listens on `ports`."""
    return "---\n".join(
        (
            ingress(name, host, secret=secret, annotations=annotations),
            service(name, ports[0] if ports else 80),
            *([endpoint_slices(name, *ports)] if ports else []),
        )
    )


def replace(path: Path, text: str) -> None:
    """Write by rename, as editors do."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.rename(path)


def mount(volume: Path, version: str, text: str) -> None:
    """One version of a mounted ConfigMap, as the kubelet writes it: a folder, a link, a rename over the old link."""
    (volume / version).mkdir(parents=True)
    (volume / version / "routes.yaml").write_text(text)
    (volume / "..data_tmp").symlink_to(version)
    (volume / "..data_tmp").rename(volume / "..data")


class Site:
    """A folder of manifests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def file(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, text: str) -> Path:
        """A file, whole, whether it was there or not."""
        path = self.file(name)
        replace(path, text)
        return path

    def route(self, host: str, backend: Listening, file: str = "site.yaml") -> Path:
        """Route all of a host to one backend."""
        return self.write(file, routed(file.removesuffix(".yaml"), host, backend.port))
