"""ingressd: one worker, manifests in a folder: an Ingress a host, two Services with their EndpointSlices.

In: a scenario. Out: manifests. Everything else is as it is without a flag: metrics, admin API, watching.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
from collections.abc import Callable, Iterator, Sequence

from bench.peers.base import Peer, Place, Ports, Running, said_version, write_files
from bench.process import ADDRESS
from bench.scenario import DOMAIN, EDITED_HOST, Scenario, Site

HOSTS_PER_FILE = 1_000
"""An Ingress has about 500 bytes, a file may have 16 MiB: a thousand is far from both ends."""
PATHS_PER_INGRESS = 1_000
"""A document may have 1 MiB: a host with more paths is written as several Ingresses, which add up."""
PREFIX = "ingressd.dev/"
EDITED_SERVICE = "edited-service"
FIRST_PORT = 20_000
"""Of endpoints that nobody asks."""
ONE_FILE_HOSTS = 10_000
"""Up to here one file holds all hosts."""


class Ingressd(Peer):
    """The proxy of this repository, as `python -m ingressd run`."""

    name = "ingressd"
    takes_many_files = True

    def program(self) -> str | None:
        return sys.executable

    def version(self) -> str:
        code = "import ingressd; print('version', ingressd.__version__)"
        return said_version([sys.executable, "-c", code], r"version (\S+)")

    def files(self, scenario: Scenario, place: Place, ports: Ports) -> dict[str, str]:
        documents: dict[str, list[str]] = {"services": [_services(place)]}
        if scenario.stream:
            documents["stream"] = [_service("stream", ports.stream, place.upstream.web_port, kind="LoadBalancer")]
        for number in range(scenario.services):
            name = f"beside-{number}"
            documents.setdefault(f"beside-{number // HOSTS_PER_FILE:03d}", []).append(_service(name, 80, FIRST_PORT))
        if scenario.services:
            documents[EDITED_SERVICE] = [_edited_service(scenario.edition)]
        if scenario.tls:
            documents["secret"] = [_secret(place)]
        per_file = ONE_FILE_HOSTS if scenario.hosts <= ONE_FILE_HOSTS else HOSTS_PER_FILE
        for number, site in enumerate(scenario.sites()):
            own_file = scenario.file_per_host or site.host == EDITED_HOST
            file = site.host if own_file else f"hosts-{number // per_file:03d}"
            documents.setdefault(file, []).extend(_ingresses(site, scenario.tls))
        return {f"manifests/{name}.yaml": "---\n".join(texts) for name, texts in documents.items()}

    def command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        certificate = f"--default-certificate={place.certificate}:{place.key}"
        return [
            *(sys.executable, "-m", "ingressd", "run", str(place.folder / "manifests")),
            f"--bind={ADDRESS}",
            f"--http-port={ports.http}",
            f"--https-port={ports.https if scenario.tls else 'off'}",
            f"--admin-port={ports.admin}",
            f"--workers={scenario.workers}",
            f"--access-log={place.access_log if scenario.access_log else 'off'}",
            "--log-format=text",
            *([certificate] if scenario.tls else []),
        ]

    def is_ready(self, running: Running) -> bool:
        connection = http.client.HTTPConnection(ADDRESS, running.ports.admin, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def edit(self, running: Running, edition: int) -> Callable[[], None]:
        files = self.changed_files(running, edition)
        return lambda: write_files(running.place.folder, files)

    def edit_service(self, running: Running, edition: int) -> Callable[[], None]:
        """Prepare another port of the endpoint of one Service, beside the others."""
        name = f"manifests/{EDITED_SERVICE}.yaml"
        running.scenario = running.scenario.edited(edition)
        text = _edited_service(edition)
        return lambda: write_files(running.place.folder, {name: text})


def _services(place: Place) -> str:
    return "---\n".join(
        _service(name, 80, port) for name, port in (("web", place.upstream.web_port), ("app", place.upstream.app_port))
    )


def _service(name: str, port: int, target_port: int, kind: str = "ClusterIP") -> str:
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: {kind}, ports: [{{name: http, port: {port}, targetPort: {target_port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {target_port}}}]
endpoints: [{{addresses: ["{ADDRESS}"]}}]
"""


def _edited_service(edition: int) -> str:
    """With a host, so that workers have to do with it."""
    site = f"""\
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {EDITED_SERVICE}}}
spec:
  ingressClassName: ingressd
  rules:
    - host: {EDITED_SERVICE}.{DOMAIN}
      http:
        paths:
          - {{path: /, pathType: Prefix, backend: {{service: {{name: {EDITED_SERVICE}, port: {{number: 80}}}}}}}}
"""
    return _service(EDITED_SERVICE, 80, FIRST_PORT + edition) + site


def _secret(place: Place) -> str:
    certificate, key = (base64.b64encode(file.read_bytes()).decode() for file in (place.certificate, place.key))
    return f"""\
apiVersion: v1
kind: Secret
metadata: {{name: edge-tls}}
type: kubernetes.io/tls
data:
  tls.crt: {certificate}
  tls.key: {key}
"""


def _ingresses(site: Site, tls: bool) -> Iterator[str]:
    name = site.host.replace(".", "-")
    for first in range(0, len(site.paths), PATHS_PER_INGRESS):
        yield _ingress(f"{name}-{first // PATHS_PER_INGRESS}", site, site.paths[first : first + PATHS_PER_INGRESS], tls)


def _ingress(name: str, site: Site, paths: Sequence[str], tls: bool) -> str:
    secure = f"  tls: [{{hosts: [{site.host}], secretName: edge-tls}}]\n" if tls else ""
    # With TLS, plain HTTP would be redirected, and the harness could not ask over it whether a route is served.
    annotations = (*site.annotations, *([("ssl-redirect", "false")] if tls else []))
    said = ", ".join(f"{PREFIX}{key}: {json.dumps(value)}" for key, value in annotations)
    rules = "".join(
        f"          - {{{_path(path, site)}, backend: {{service: {{name: {site.pool.value}, "
        f"port: {{number: 80}}}}}}}}\n"
        for path in paths
    )
    return f"""\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations: {{{said}}}
spec:
  ingressClassName: ingressd
{secure}  rules:
    - host: {site.host}
      http:
        paths:
{rules}"""


def _path(path: str, site: Site) -> str:
    """A prefix; where targets are rewritten an expression for the same, which keeps what follows."""
    if dict(site.annotations).get("rewrite-target"):
        return f'path: "{path.rstrip("/")}/(.*)", pathType: ImplementationSpecific'
    return f"path: {path}, pathType: Prefix"
