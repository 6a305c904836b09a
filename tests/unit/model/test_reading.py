from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from ingressd.errors import Severity
from ingressd.model.origin import Origin
from ingressd.model.reading import Reading, read
from ingressd.model.resource import Key

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
  - port: 80
"""


def reading(text: str, line: int = 1) -> Reading:
    return read(yaml.safe_load(text), Origin("f.yaml", line, text))


def places(found: Reading) -> list[str]:
    return [f"{fault.line}:{fault.column} {fault.code}" for fault in found.faults]


def test_an_empty_document_is_nothing() -> None:
    assert reading("") == Reading()


def test_a_resource_knows_who_and_where_it_is() -> None:
    (resource,) = reading(SERVICE, line=11).resources
    assert resource.key == Key("Service", "default", "web")
    assert str(resource.key) == "Service default/web"
    assert resource.place("spec", "ports", 0, "port") == "f.yaml:17"
    assert resource.place() == "f.yaml:11"


def test_what_is_in_no_namespace_has_none() -> None:
    found = reading(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: a, namespace: b}\n"
        "spec: {controller: a.b/c}\n"
    )
    assert found.resources[0].key == Key("IngressClass", "", "a")
    assert places(found) == ["3:32 field_ignored"]


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (("port: 80", "port: 0"), "7:11 field_invalid"),
        (("port: 80", "prot: 80"), "7:5 field_required"),
        (("port: 80", 'port: "80"'), "7:11 field_type"),
        (("name: web", "name: Web"), "4:9 field_invalid"),
        (("name: web", "nmae: web"), "3:1 field_required"),
        (("  ports:\n  - port: 80\n", "  type: ClusterIP\n"), "5:1 field_required"),
        (("spec:\n", "spec:\n  type:  nodePort\n"), "6:10 field_invalid"),
        (("ports:\n  - port: 80", "ports: [{port: 80, name: A}]"), "6:28 field_invalid"),
        (("ports:\n  - port: 80", "ports: 80"), "6:10 field_type"),
    ],
)
def test_a_mistake_stands_where_it_is_to_be_corrected(edit: tuple[str, str], place: str) -> None:
    found = reading(SERVICE.replace(*edit))
    assert places(found)[0] == place
    assert found.resources == ()


def test_a_field_that_does_not_exist_stands_at_its_key() -> None:
    found = reading(SERVICE.replace("  - port: 80", "  - port: 80\n    nmae: http"))
    assert places(found) == ["8:11 field_unknown"]
    assert found.faults[0].message == "spec.ports[0].nmae: there is no such field"


@pytest.mark.parametrize(
    ("text", "code", "hint", "key"),
    [
        ("just words", "not_an_object", "it needs apiVersion, kind and metadata", Key("", "", "")),
        ("- a", "not_an_object", "it needs apiVersion, kind and metadata", Key("", "", "")),
        ("a: 1", "not_an_object", "it needs apiVersion, kind and metadata", Key("", "default", "")),
        (
            "kind: Ingress\nmetadata: {name: a}",
            "not_an_object",
            "write `apiVersion: networking.k8s.io/v1`",
            Key("Ingress", "default", "a"),
        ),
        ("apiVersion: v1", "not_an_object", "it needs", Key("", "default", "")),
        (
            "apiVersion: v1\nkind: Ingress\nmetadata: {name: a, namespace: n}",
            "api_version_unknown",
            "write `apiVersion: networking.k8s.io/v1`",
            Key("Ingress", "n", "a"),
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: 5}",
            "field_type",
            'write it in quotes: name: "5"',
            Key("Service", "default", ""),
        ),
    ],
)
def test_what_is_no_object_is_broken(text: str, code: str, hint: str, key: Key) -> None:
    found = reading(text)
    assert found.faults[0].code == code
    assert found.faults[0].severity == Severity.ERROR
    assert hint in found.faults[0].hint
    assert found.broken == (key,)


@pytest.mark.parametrize(
    ("version", "kind", "severity", "hint"),
    [
        ("apps/v1", "Deployment", Severity.INFO, ""),
        ("v1", "Servce", Severity.WARNING, "did you mean Service?"),
        ("networking.k8s.io/v1", "Ingres", Severity.WARNING, "did you mean Ingress?"),
    ],
)
def test_a_kind_that_is_not_read_is_only_noted(version: str, kind: str, severity: Severity, hint: str) -> None:
    found = reading(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}")
    (fault,) = found.faults
    assert (fault.severity, fault.code, fault.hint, fault.line) == (severity, "kind_ignored", hint, 2)
    assert found.broken == ()


def test_a_namespace_is_passed_over_in_silence() -> None:
    assert reading("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}") == Reading()


@pytest.mark.parametrize("version", ["extensions/v1beta1", "networking.k8s.io/v1beta1"])
def test_an_old_ingress_comes_with_its_new_form(version: str) -> None:
    found = reading(
        f"apiVersion: {version}\nkind: Ingress\nmetadata: {{name: old}}\nspec:\n"
        "  backend: {serviceName: all, servicePort: 80}\n  tls: [{hosts: [a.com]}]\n  rules:\n  - host: a.com\n"
        "    http:\n      paths:\n      - path: /x\n        backend: {serviceName: web, servicePort: http}\n"
        "      - backend: {serviceName: web, servicePort: 81}\n"
    )
    (fault,) = found.faults
    assert (fault.code, fault.line, fault.column) == ("api_version_old", 1, 13)
    assert "gone since Kubernetes 1.22" in fault.message
    new: dict[str, Any] = json.loads(fault.hint.removeprefix("write it as v1: "))
    assert new["spec"]["defaultBackend"] == {"service": {"name": "all", "port": {"number": 80}}}
    assert new["spec"]["rules"][0]["http"]["paths"] == [
        {"path": "/x", "backend": {"service": {"name": "web", "port": {"name": "http"}}}, "pathType": "Prefix"},
        {"backend": {"service": {"name": "web", "port": {"number": 81}}}, "pathType": "Prefix", "path": "/"},
    ]
    again = read({**new, "kind": "Ingress", "metadata": {"name": "old"}}, Origin("f.yaml", 1, ""))
    assert not again.faults


@pytest.mark.parametrize(("version", "kind"), [("v1", "List"), ("v1", "ServiceList")])
def test_one_mistake_in_a_list_costs_one_object(version: str, kind: str) -> None:
    items = "".join(
        f"- apiVersion: v1\n  kind: Service\n  metadata: {{name: {name}}}\n  spec:\n    ports:\n    - port: {port}\n"
        for name, port in (("a", 80), ("b", 0), ("c", 81))
    )
    found = reading(f"apiVersion: {version}\nkind: {kind}\nitems:\n{items}", line=101)
    assert [resource.name for resource in found.resources] == ["a", "c"]
    assert found.broken == (Key("Service", "default", "b"),)
    assert places(found) == ["115:13 field_invalid"]
    assert found.resources[1].place("spec", "ports", 0, "port") == "f.yaml:121"


def test_an_empty_list_holds_nothing() -> None:
    assert reading("apiVersion: v1\nkind: List\nitems: []") == Reading()


def test_no_value_of_a_secret_is_in_a_fault() -> None:
    base = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
    for text in ("stringData: {a: 12345678}", "data: {a: 12345678}", "data: {a: '12345678%'}", "data: '12345678'"):
        found = reading(base + text)
        assert found.broken
        assert "12345678" not in repr(found)
    (resource,) = reading(base + "stringData: {a: '12345678'}").resources
    assert "12345678" not in f"{resource!r} {resource.object!r} {resource.object} {resource.origin!r}"


def test_metadata_that_is_no_mapping_is_a_fault_of_its_own() -> None:
    found = reading("apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: other\nspec: {}\n")
    assert not found.resources
    assert {fault.code for fault in found.faults} >= {"field_type"}
