"""Manifests of the compiler's tests: text or parts of them, read as `ingressd run` reads files, without files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import compile_snapshot
from ingressd.compile.options import CompileOptions
from ingressd.discovery.base import Answer, Query
from ingressd.model.resource_set import ResourceSet
from ingressd.sources.documents import read_documents
from ingressd.table.snapshot import Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILE = "test.yaml"

Object = dict[str, Any]


def resources(*objects: Object) -> ResourceSet:
    """The objects as a file with one document for each."""
    return parsed("\n---\n".join(json.dumps(each) for each in objects))


def parsed(text: str) -> ResourceSet:
    """What is in a file with this text."""
    documents = read_documents(FILE, text)
    return ResourceSet.of(
        [resource for document in documents for resource in document.served],
        [fault for document in documents for fault in document.faults],
        files=1,
    )


def options(**changes: Any) -> CompileOptions:
    """The defaults, HTTPS on port 8443, at a fixed moment."""
    return CompileOptions(**{"now": NOW, "https_port": 8443, **changes})


def compiled(
    *objects: Object,
    answers: Mapping[Query, Answer] | None = None,
    previous: Snapshot | None = None,
    **changes: Any,
) -> Compilation:
    """One run over the objects."""
    return compile_snapshot(resources(*objects), answers or {}, options(**changes), previous)


def codes(compilation: Compilation) -> list[str]:
    """The codes of the faults, in order."""
    return [fault.code for fault in compilation.faults]


def ingress(name: str = "web", *, namespace: str = "default", created: str | None = None, **spec: Any) -> Object:
    """An Ingress. `annotations` goes to the metadata, everything else to the spec."""
    metadata: Object = {"name": name, "namespace": namespace, "annotations": spec.pop("annotations", {})}
    if created is not None:
        metadata["creationTimestamp"] = created
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def rule(host: str, *paths: Object) -> Object:
    """A rule; without paths it has no `http`."""
    written: Object = {"host": host} if host else {}
    return {**written, "http": {"paths": list(paths)}} if paths else written


def path(path: str = "/", service: str = "web", path_type: str = "Prefix", port: int | str = 80) -> Object:
    """A path of a rule."""
    return {"path": path, "pathType": path_type, "backend": backend(service, port)}


def backend(service: str = "web", port: int | str = 80) -> Object:
    """A backend."""
    return {"service": {"name": service, "port": {"name" if isinstance(port, str) else "number": port}}}


def service(name: str = "web", *, namespace: str = "default", **spec: Any) -> Object:
    """A Service with the port 80, unless the spec says otherwise; `annotations` goes to the metadata."""
    metadata = {"name": name, "namespace": namespace, "annotations": spec.pop("annotations", {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}], **spec}}


def slice_of(
    service: str = "web",
    addresses: Iterable[str] = ("10.0.0.1",),
    *,
    name: str = "",
    namespace: str = "default",
    port: int = 8080,
) -> Object:
    """An EndpointSlice of ready IPv4 addresses and one unnamed port."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or f"{service}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"port": port}],
    }


def tls_secret(name: str, chain_pem: bytes, key_pem: bytes, *, namespace: str = "default") -> Object:
    """A Secret of the type kubernetes.io/tls."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": chain_pem.decode(), "tls.key": key_pem.decode()},
    }
