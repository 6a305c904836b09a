"""The rules of every kind: one valid object each, and one edit of it for each rule."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ingressd.errors import Severity
from ingressd.model.origin import Origin
from ingressd.model.reading import Reading, read

GONE = object()

INGRESS: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "site", "namespace": "team", "annotations": {"example.com/a": "b"}, "labels": {"a": "b"}},
    "spec": {
        "ingressClassName": "ingressd",
        "defaultBackend": {"resource": {"apiGroup": "x.io", "kind": "Bucket", "name": "b"}},
        "tls": [{"hosts": ["a.example.com", "*.example.com"], "secretName": "cert"}, {}],
        "rules": [
            {
                "host": "a.example.com",
                "http": {
                    "paths": [
                        {
                            "path": "/a",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "web", "port": {"number": 80}}},
                        },
                        {
                            "path": "/b",
                            "pathType": "Exact",
                            "backend": {"service": {"name": "web", "port": {"name": "http"}}},
                        },
                        {
                            "pathType": "ImplementationSpecific",
                            "backend": {"service": {"name": "web", "port": {"number": 80}}},
                        },
                    ]
                },
            },
            {"host": "*.example.com"},
            {},
        ],
    },
    "status": {"loadBalancer": {}},
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {
        "type": "NodePort",
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1"],
        "externalIPs": ["1.2.3.4"],
        "selector": {"app": "web"},
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "publishNotReadyAddresses": True,
        "ports": [
            {
                "name": "http",
                "port": 80,
                "targetPort": 8080,
                "protocol": "TCP",
                "appProtocol": "http",
                "nodePort": 30000,
            },
            {"name": "https", "port": 443, "targetPort": "https"},
            {"name": "dns", "port": 80, "protocol": "UDP"},
        ],
    },
}
EXTERNAL: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "api"},
    "spec": {"type": "ExternalName", "externalName": "api.example.com."},
}
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "cert"},
    "type": "kubernetes.io/tls",
    "data": {"tls.crt": "aGVs\nbG8="},
    "stringData": {"tls.key": "key"},
}
CLASS: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "edge"},
    "spec": {"controller": "ingressd.dev/ingress-controller", "parameters": {"kind": "X"}},
}
CONFIG_MAP: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "conf"},
    "data": {"a": "b"},
    "binaryData": {"c": "aGk="},
}
SLICE: dict[str, Any] = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}, "zone": "z", "nodeName": "n"}],
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "any"}],
}
ENDPOINTS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": {"name": "web"},
    "subsets": [
        {"addresses": [{"ip": "127.0.0.1"}], "notReadyAddresses": [{"ip": "::1"}], "ports": [{"name": "a", "port": 80}]}
    ],
}
VALID = [INGRESS, SERVICE, EXTERNAL, SECRET, CLASS, CONFIG_MAP, SLICE, ENDPOINTS]


def put(value: dict[str, Any], path: str, new: object) -> dict[str, Any]:
    """A copy with one field changed; the path is written as messages write it."""
    changed = copy.deepcopy(value)
    parts = (
        path.replace("[", ".[").split(".")
        if not path.startswith("metadata.annotations.")
        else ["metadata", "annotations", path.removeprefix("metadata.annotations.")]
    )
    at: Any = changed
    keys = [int(part[1:-1]) if part.startswith("[") else part for part in parts]
    for key in keys[:-1]:
        at = at[key]
    if new is GONE:
        del at[keys[-1]]
    else:
        at[keys[-1]] = new
    return changed


def reading(value: object) -> Reading:
    return read(value, Origin("f.yaml", 1, ""))


@pytest.mark.parametrize("value", VALID, ids=lambda value: value["kind"])
def test_a_valid_object_has_no_fault(value: dict[str, Any]) -> None:
    found = reading(value)
    assert not found.faults
    assert len(found.resources) == 1
    assert not found.broken


BACKEND = "spec.rules[0].http.paths[0].backend"
PATH = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("value", "path", "new"),
    [
        (INGRESS, f"{PATH}.path", "/a/.b"),
        (INGRESS, f"{PATH}.path", "/a%20b"),
        (INGRESS, f"{PATH}.path", "/a b"),
        (INGRESS, f"{PATH}.path", "/"),
        (INGRESS, "spec.rules[0].http.paths[2].path", "/x"),
        (INGRESS, "spec.rules", []),
        (INGRESS, "spec.defaultBackend", GONE),
        (INGRESS, "spec.ingressClassName", GONE),
        (INGRESS, "spec.tls", GONE),
        (INGRESS, "metadata.annotations.kubernetes.io/ingress.class", "ingressd"),
        (SERVICE, "spec.ports[0].nodePort", 0),
        (SERVICE, "spec.type", "LoadBalancer"),
        (EXTERNAL, "spec.ports", [{"port": 80}]),
        (CLASS, "metadata.annotations", {"ingressclass.kubernetes.io/is-default-class": "true"}),
        (SLICE, "ports", []),
        (SLICE, "endpoints[0].conditions", GONE),
        (SECRET, "type", "Opaque"),
    ],
)
def test_what_the_api_allows_is_allowed(value: dict[str, Any], path: str, new: object) -> None:
    assert not reading(put(value, path, new)).faults


@pytest.mark.parametrize(
    ("value", "path", "new", "message"),
    [
        (INGRESS, "metadata.name", "Site", 'metadata.name: "Site" must be labels of lower-case'),
        (INGRESS, "metadata.name", GONE, "metadata.name is required"),
        (INGRESS, "metadata.name", "", "metadata.name is required"),
        (INGRESS, "metadata", GONE, "metadata is required"),
        (INGRESS, "metadata.namespace", "a.b", "metadata.namespace"),
        (INGRESS, "metadata.annotations.a b", "x", "metadata.annotations.a b"),
        (INGRESS, "metadata.annotations.x", True, "metadata.annotations.x: must be a string, not a boolean"),
        (INGRESS, "metadata.annotations.x", "y" * 300_000, "at most 256 KiB"),
        (INGRESS, "metadata.labels.a", 1, "metadata.labels.a: must be a string, not a number"),
        (INGRESS, "spec", GONE, "spec is required"),
        (INGRESS, "spec", {}, "spec needs rules or a defaultBackend"),
        (INGRESS, "spec.ingressClassName", "a_b", "spec.ingressClassName"),
        (INGRESS, "metadata.annotations.kubernetes.io/ingress.class", "nginx", "the same as the annotation"),
        (INGRESS, "spec.defaultBackend", {}, "spec.defaultBackend needs a service or a resource"),
        (INGRESS, "spec.defaultBackend.service", {"name": "a", "port": {"number": 1}}, "both set"),
        (INGRESS, "spec.defaultBackend.resource.kind", "", "spec.defaultBackend.resource.kind is required"),
        (INGRESS, "spec.defaultBackend.resource.name", GONE, "spec.defaultBackend.resource.name is required"),
        (INGRESS, f"{BACKEND}.service", GONE, f"{BACKEND} needs a service or a resource"),
        (INGRESS, f"{BACKEND}.service.name", "", f"{BACKEND}.service.name is required"),
        (INGRESS, f"{BACKEND}.service.name", "1web", f"{BACKEND}.service.name"),
        (INGRESS, f"{BACKEND}.service.port", GONE, f"{BACKEND}.service.port is required"),
        (INGRESS, f"{BACKEND}.service.port", {}, f"{BACKEND}.service.port needs a number or a name"),
        (INGRESS, f"{BACKEND}.service.port", {"number": 80, "name": "a"}, "name and number are both set"),
        (INGRESS, f"{BACKEND}.service.port.number", 65536, "from 1 to 65535"),
        (INGRESS, f"{BACKEND}.service.port.number", -1, "from 1 to 65535"),
        (INGRESS, f"{BACKEND}.service.port.number", "80", "must be a whole number, not a string"),
        (INGRESS, f"{BACKEND}.service.port", {"name": "HTTP"}, f"{BACKEND}.service.port.name"),
        (INGRESS, f"{PATH}.backend", GONE, f"{BACKEND} is required"),
        (INGRESS, f"{PATH}.pathType", GONE, f"{PATH}.pathType is required"),
        (INGRESS, f"{PATH}.pathType", "prefix", "must be one of Exact, Prefix, ImplementationSpecific"),
        (INGRESS, f"{PATH}.path", "a", "must be an absolute path"),
        (INGRESS, f"{PATH}.path", GONE, "must be an absolute path"),
        *((INGRESS, f"{PATH}.path", f"/a{part}b", f"without `{part}`") for part in ("//", "/./", "/../", "%2f", "%2F")),
        *((INGRESS, f"{PATH}.path", f"/a{end}", f"does not end with `{end}`") for end in ("/.", "/..")),
        (INGRESS, "spec.rules[0].http.paths[2].path", "x", "must be an absolute path"),
        (INGRESS, "spec.rules[0].http.paths", [], "spec.rules[0].http.paths needs at least one path"),
        (INGRESS, "spec.rules[0].http", {}, "spec.rules[0].http.paths is required"),
        (INGRESS, "spec.rules[0].host", "1.2.3.4", "a DNS name, not an IP address"),
        (INGRESS, "spec.rules[0].host", "A.com", "spec.rules[0].host"),
        (INGRESS, "spec.rules[0].host", "*", "spec.rules[0].host"),
        (INGRESS, "spec.rules[0].host", "a.com:80", "without a port"),
        (INGRESS, "spec.rules", "x", "spec.rules: must be a list, not a string"),
        (INGRESS, "spec.rules[0]", "x", "spec.rules[0]: must be a mapping, not a string"),
        (INGRESS, "spec.tls[0].hosts[0]", "*", "spec.tls[0].hosts[0]"),
        (INGRESS, "spec.tls[0].secretName", "A", "spec.tls[0].secretName"),
        (SERVICE, "metadata.name", "1web", "beginning with a letter"),
        (SERVICE, "spec.type", "Nodeport", "one of ClusterIP, NodePort"),
        (SERVICE, "spec.ports", [], "spec.ports needs at least one port"),
        (SERVICE, "spec.clusterIP", "foo", "an IP address, or None"),
        (SERVICE, "spec.internalTrafficPolicy", "local", "one of Cluster, Local"),
        (SERVICE, "spec.externalTrafficPolicy", "Node", "one of Cluster, Local"),
        (SERVICE, "spec.sessionAffinity", "clientip", "one of None, ClientIP"),
        (SERVICE, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 0, "from 1 to 86400"),
        (SERVICE, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 86401, "from 1 to 86400"),
        (SERVICE, "spec.ports[0].port", 0, "from 1 to 65535"),
        (SERVICE, "spec.ports[0].port", GONE, "spec.ports[0].port is required"),
        (SERVICE, "spec.ports[0].port", 80.5, "must be a whole number"),
        (SERVICE, "spec.ports[0].protocol", "tcp", "one of TCP, UDP, SCTP"),
        (SERVICE, "spec.ports[0].targetPort", 0, "the name of a container port"),
        (SERVICE, "spec.ports[0].targetPort", "8080", "with a letter among them"),
        (SERVICE, "spec.ports[0].targetPort", [], "spec.ports[0].targetPort: must be"),
        (SERVICE, "spec.ports[0].nodePort", 70000, "from 1 to 65535"),
        (SERVICE, "spec.ports[0].name", "HTTP", "spec.ports[0].name"),
        (SERVICE, "spec.ports[0].name", GONE, "spec.ports[0].name is required when a Service has several ports"),
        (SERVICE, "spec.ports[1].name", "http", "spec.ports[1].name: http is taken already"),
        (SERVICE, "spec.ports[1].port", 80, "spec.ports[1].port: 80 is taken already"),
        (SERVICE, "spec.publishNotReadyAddresses", "yes", "must be true or false, not a string"),
        (EXTERNAL, "spec.externalName", GONE, "spec.externalName is required"),
        (EXTERNAL, "spec.externalName", "1.2.3.4", "a DNS name, not an IP address"),
        (EXTERNAL, "spec.externalName", "a_b", "spec.externalName"),
        (SECRET, "data", {}, "data.tls.crt is required in a Secret of the type kubernetes.io/tls"),
        (SECRET, "stringData", {}, "data.tls.key is required"),
        (SECRET, "data", {"tls.crt": "%"}, "data.tls.crt is not base64"),
        (SECRET, "stringData", {"tls.key": "x" * 1024 * 1025}, "at most 1 MiB"),
        (CLASS, "spec", {}, "spec.controller is required"),
        (CLASS, "spec.controller", "nginx", "a domain and a path"),
        (CONFIG_MAP, "data.a", 1, "data.a: must be a string, not a number"),
        (CONFIG_MAP, "metadata.name", "A", "metadata.name"),
        (SLICE, "addressType", GONE, "addressType is required"),
        (SLICE, "addressType", "ipv4", "one of IPv4, IPv6, FQDN"),
        (SLICE, "addressType", "IPv6", "an IPv6 address"),
        (SLICE, "endpoints[0].addresses", [], "endpoints[0].addresses needs at least one address"),
        (SLICE, "endpoints[0].addresses", ["1.1.1.1"] * 101, "at most 100 addresses"),
        (SLICE, "endpoints[0].addresses[0]", "web", "an IPv4 address"),
        (SLICE, "endpoints", [{"addresses": ["1.1.1.1"]}] * 1001, "at most 1000 endpoints"),
        (SLICE, "ports", [{"name": f"p{n}"} for n in range(101)], "at most 100 ports"),
        (SLICE, "ports[0].port", 0, "from 1 to 65535"),
        (SLICE, "ports[0].name", "HTTP", "ports[0].name"),
        (SLICE, "ports[1].name", "http", "different from the names of the other ports"),
        (SLICE, "ports[0].protocol", "HTTP", "one of TCP, UDP, SCTP"),
        (ENDPOINTS, "subsets[0].addresses[0].ip", "web", "an IP address"),
        (ENDPOINTS, "subsets[0].addresses[0].ip", GONE, "subsets[0].addresses[0].ip is required"),
        (ENDPOINTS, "subsets[0].notReadyAddresses[0].ip", "x", "an IP address"),
        (ENDPOINTS, "subsets[0].ports[0].port", 0, "from 1 to 65535"),
    ],
)
def test_a_broken_rule_costs_the_object(value: dict[str, Any], path: str, new: object, message: str) -> None:
    found = reading(put(value, path, new))
    assert [fault.message for fault in found.faults if message in fault.message]
    assert all(fault.severity == Severity.ERROR for fault in found.faults)
    assert not found.resources
    assert len(found.broken) == 1


@pytest.mark.parametrize(
    ("value", "path", "new", "hint"),
    [
        (INGRESS, "metadata.annotations.x", True, 'write it in quotes: x: "true"'),
        (INGRESS, "metadata.annotations.x", 1.5, 'write it in quotes: x: "1.5"'),
        (INGRESS, f"{BACKEND}.service.port.number", "80", "write it without quotes: number: 80"),
        (INGRESS, f"{PATH}.pathType", "Prefixed", "did you mean Prefix?"),
        (INGRESS, f"{PATH}.pathType", GONE, "write `pathType: Prefix`"),
        (INGRESS, f"{PATH}.path", "a", "write `path: /a`"),
        (INGRESS, "spec.rules[0].host", "Example.COM", "write `host: example.com`"),
        (INGRESS, "spec.rules[0].host", "*", "leave host out"),
        (SERVICE, "spec.ports[0].targetPort", "8080", "write it without quotes: targetPort: 8080"),
        (SERVICE, "spec.publishNotReadyAddresses", "yes", "write true, without quotes"),
        (SERVICE, "spec.publishNotReadyAddresses", "off", "write false, without quotes"),
        (SERVICE, "spec.type", "clusterIP", "did you mean ClusterIP?"),
        (SERVICE, "spec.clusterIP", "none", "did you mean None?"),
        (CLASS, "spec", {}, "write `controller: ingressd.dev/ingress-controller`"),
        (CONFIG_MAP, "metadata.labels", {"a": 1}, 'write it in quotes: a: "1"'),
    ],
)
def test_a_mistake_comes_with_the_way_out(value: dict[str, Any], path: str, new: object, hint: str) -> None:
    assert hint in reading(put(value, path, new)).faults[0].hint


@pytest.mark.parametrize(
    ("value", "path", "hint"),
    [
        (INGRESS, "sepc", "did you mean spec?"),
        (INGRESS, "metadata.lables", "did you mean labels?"),
        (INGRESS, "spec.ruels", "did you mean rules?"),
        (INGRESS, f"{PATH}.pathtype", "did you mean pathType?"),
        (INGRESS, f"{BACKEND}.servcie", "did you mean service?"),
        (SERVICE, "spec.clusterIp", "did you mean clusterIP?"),
        (SERVICE, "spec.ports[0].nodeport", "did you mean nodePort?"),
        (SECRET, "stringdata", "did you mean stringData?"),
        (SLICE, "endpoints[0].adresses", "did you mean addresses?"),
        (ENDPOINTS, "subsets[0].qqq", "remove it"),
    ],
)
def test_a_field_that_does_not_exist_is_a_warning_with_the_nearest_one(
    value: dict[str, Any], path: str, hint: str
) -> None:
    found = reading(put(value, path, "x"))
    (fault,) = found.faults
    assert (fault.severity, fault.code, fault.message) == (
        Severity.WARNING,
        "field_unknown",
        f"{path}: there is no such field",
    )
    assert hint in fault.hint
    assert len(found.resources) == 1
