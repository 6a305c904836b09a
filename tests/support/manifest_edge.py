"""An edge that serves manifests: YAML as people write it, compiled, with backends in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import compile_snapshot
from ingressd.compile.options import CompileOptions
from ingressd.errors import Severity
from ingressd.model.resource_set import ResourceSet
from ingressd.settings import Limits
from ingressd.sources.documents import read_documents
from tests.support.edge import Running, running

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
"""


def service_yaml(services: Mapping[str, int]) -> str:
    """Services `NAME:80` of the namespace default, each with one endpoint at this port of 127.0.0.1."""
    return "".join(SERVICE.format(name=name, port=port) for name, port in services.items())


def ingress_yaml(
    annotations: Mapping[str, str], *, name: str = "web", host: str = "a.test", path: str = "/", service: str = "app"
) -> str:
    """An Ingress with one Prefix path; annotations without a slash get the prefix of ingress-nginx."""
    lines = "".join(
        f"    {key if '/' in key else 'nginx.ingress.kubernetes.io/' + key}: {value!r}\n"
        for key, value in annotations.items()
    )
    return (
        f"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n"
        f"{'  annotations:' if lines else ''}\n{lines}"
        f"spec:\n  rules:\n  - host: {host}\n    http:\n      paths:\n"
        f"      - {{path: {path}, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}\n"
        "---\n"
    )


def compiled_manifests(text: str, *, limits: Limits | None = None, **options: Any) -> Compilation:
    """What the compiler makes of `text`."""
    documents = read_documents("manifests.yaml", text)
    resources = [resource for document in documents for resource in document.served]
    faults = [fault for document in documents for fault in document.faults]
    decided = CompileOptions(now=datetime.now(UTC), limits=limits or Limits(), **options)
    return compile_snapshot(ResourceSet.of(resources, faults), {}, decided)


@asynccontextmanager
async def serving_manifests(
    text: str,
    *,
    limits: Limits | None = None,
    options: Mapping[str, Any] | None = None,
    faulty: bool = False,
    **settings: Any,
) -> AsyncIterator[Running]:
    """An edge that serves `text`. Unless `faulty`, an error in it fails the test."""
    compilation = compiled_manifests(text, limits=limits, **(options or {}))
    errors = [str(fault) for fault in compilation.faults if fault.severity == Severity.ERROR]
    assert faulty or not errors, errors
    async with running(compilation.snapshot, limits=limits, **settings) as edge:
        yield edge
