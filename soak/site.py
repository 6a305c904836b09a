"""Site: the manifests of a soak, and the edits of them that must not disturb anybody.

In: the ports of two backends, certificates. Out: files in a folder, written by rename as editors do.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from soak import HOST

Pair = tuple[bytes, bytes]
"""Certificate chain and key, as PEM."""

_INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations: {{nginx.ingress.kubernetes.io/ssl-redirect: "false"{more}}}
spec:
  tls: [{{hosts: [{host}], secretName: soak}}]
  rules:
    - host: {host}
      http:
        paths:
          - {{path: {path}, pathType: Prefix, backend: {{service: {{name: app, port: {{number: 80}}}}}}}}
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {ports: [{name: http, port: 80}]}
"""
_SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: app-{number}, labels: {{kubernetes.io/service-name: app}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: ["127.0.0.1"]}}]
"""
_SECRET = """\
apiVersion: v1
kind: Secret
metadata: {{name: soak}}
type: kubernetes.io/tls
data: {{tls.crt: {chain}, tls.key: {key}}}
"""
_ROUTES_OF_A_FILE = 20


class Site:
    """A folder of manifests; `edit` makes the next of an endless row of edits."""

    def __init__(self, folder: Path, ports: Sequence[int], pairs: Sequence[Pair]) -> None:
        self.folder = folder
        folder.mkdir()
        self._ports = ports
        self._pairs = itertools.cycle(pairs)
        self._slices(ports)
        self._secret()
        self._write("app.yaml", _SERVICE + "---\n" + _ingress("app", HOST, "/"))
        self._numbers = itertools.count()
        self._row = self._edits()

    def edit(self) -> str:
        """Change something. Returns what."""
        return next(self._row)

    def _edits(self) -> Iterator[str]:
        while True:
            number = next(self._numbers)
            hosts = [f"more-{number}-{index}.localhost" for index in range(_ROUTES_OF_A_FILE)]
            self._write("more.yaml", "---\n".join(_ingress(f"more-{host}", host, "/") for host in hosts))
            yield "other hosts"
            self._write(
                "more.yaml",
                "---\n".join(_ingress(f"path-{index}", HOST, f"/nobody/{number}/{index}") for index in range(5)),
            )
            yield "other paths of the host"
            self._slices(self._ports[:1])
            yield "one endpoint less"
            self._slices(self._ports)
            yield "one endpoint more"
            self._write("more.yaml", f"# {number}\napiVersion: [")
            yield "a file that is no YAML"
            self._secret()
            yield "another certificate"
            annotations = f', nginx.ingress.kubernetes.io/whitelist-source-range: "10.0.{number % 256}.0/24"'
            self._write("more.yaml", _ingress("denied", "denied.localhost", "/", annotations))
            yield "a route that is denied"
            (self.folder / "more.yaml").unlink()
            yield "no file"

    def _slices(self, ports: Sequence[int]) -> None:
        self._write("slices.yaml", "---\n".join(_SLICE.format(number=n, port=port) for n, port in enumerate(ports)))

    def _secret(self) -> None:
        chain, key = (base64.b64encode(pem).decode() for pem in next(self._pairs))
        self._write("secret.yaml", _SECRET.format(chain=chain, key=key))

    def _write(self, name: str, text: str) -> None:
        draft = self.folder / f".{name}.draft"
        draft.write_text(text)
        draft.rename(self.folder / name)


def _ingress(name: str, host: str, path: str, more: str = "") -> str:
    return _INGRESS.format(name=name, host=host, path=path, more=more)
