"""Annotations: any of them, with any values, are compiled; a guard that is not supported always denies.

In: a byte of choices, then lines `name=value`; a name without a slash gets a prefix that is read.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ingressd.compile.compiler import compile_snapshot
from ingressd.compile.options import CompileOptions
from ingressd.compile.policies import NGINX, OURS, PREFIXES
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.unsupported import GUARDS, LEFT_OUT
from ingressd.model.origin import Origin
from ingressd.model.reading import read
from ingressd.model.resource_set import ResourceSet

WORDS = (
    *(f"{name}=".encode() for name in sorted({*ANNOTATIONS, *GUARDS, *LEFT_OUT})),
    b"true\n", b"false\n", b"t\n", b"0\n", b"1\n", b"=", b"\n", OURS.encode(), NGINX.encode(), b"10.0.0.0/8\n", b"5s\n",
    b"kubernetes.io/ingress.class=nginx\n", b"ingressd.dev/discovery=static:127.0.0.1\n", b"Canary=", b"auth_type=",
)  # fmt: skip

_OPTIONS = CompileOptions(now=datetime.fromtimestamp(0, UTC), https_port=8443)
_BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
_PATH = {"path": "/", "pathType": "Prefix", "backend": _BACKEND}


def check(data: bytes) -> None:
    choices, text = (data[0], data[1:].decode("utf-8", "replace")) if data else (0, "")
    annotations = {}
    for line in text.split("\n"):
        name, _, value = line.partition("=")
        annotations[name if "/" in name else f"{PREFIXES[choices & 1]}{name}"] = value
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {"defaultBackend": _BACKEND, "rules": [{"host": "a.test", "http": {"paths": [_PATH]}}]},
    }
    service_annotations = annotations if choices & 2 else {}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "annotations": service_annotations},
        "spec": {"ports": [{"port": 80}]},
    }
    readings = [read(item, Origin("file.yaml", 1, "")) for item in (ingress, service)]
    resources = [resource for reading in readings for resource in reading.resources]
    faults = [fault for reading in readings for fault in reading.faults]
    compilation = compile_snapshot(ResourceSet.of(resources, faults), {}, _OPTIONS)
    again = compile_snapshot(ResourceSet.of(resources, faults), {}, _OPTIONS)
    assert again.snapshot == compilation.snapshot
    assert again.faults == compilation.faults
    guarded = any(f"{prefix}{name}" in annotations for prefix in PREFIXES for name in GUARDS.keys() - ANNOTATIONS)
    routes = [row.route for row in compilation.routes]
    if guarded:
        assert all(route.denied for route in routes), "a guarded route is open"
        assert any(fault.code == "annotation_guard_unsupported" for fault in compilation.faults) or not routes
    for row in compilation.routes:
        row.as_dict()
    for service_row in compilation.services:
        service_row.as_dict()
