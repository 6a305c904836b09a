from __future__ import annotations

from typing import Any

from ingressd.errors import Fault, Severity
from ingressd.model.kinds import Kind
from ingressd.model.origin import Origin
from ingressd.model.reading import KIND_IGNORED, read
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet


def resource(kind: str, name: str, line: int = 1, *, version: str = "v1", **fields: Any) -> Resource[Kind]:
    value = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}
    if labels := fields.pop("labels", None):
        value["metadata"] = {"name": name, "labels": labels}
        del value["labels"]
    (found,) = read(value, Origin("f.yaml", line, "")).resources
    return found


PORTS = {"spec": {"ports": [{"port": 80}]}}


def test_objects_are_found_by_kind_and_name() -> None:
    ingress = resource(
        "Ingress",
        "a",
        version="networking.k8s.io/v1",
        spec={"defaultBackend": {"resource": {"kind": "K", "name": "n"}}},
    )
    klass = resource("IngressClass", "a", version="networking.k8s.io/v1", spec={"controller": "a.b/c"})
    service, secret, conf = resource("Service", "a", **PORTS), resource("Secret", "a"), resource("ConfigMap", "a")
    endpoints = resource("Endpoints", "a")
    slices = [
        resource(
            "EndpointSlice",
            name,
            version="discovery.k8s.io/v1",
            addressType="IPv4",
            labels={"kubernetes.io/service-name": "a"},
        )
        for name in ("a-1", "a-2")
    ]
    found = ResourceSet.of([ingress, klass, service, secret, conf, endpoints, *slices], files=3)
    assert found.ingresses == (ingress,)
    assert found.classes == (klass,)
    assert found.services == {("default", "a"): service}
    assert found.secrets == {("default", "a"): secret}
    assert found.config_maps == {("default", "a"): conf}
    assert found.endpoints == {("default", "a"): endpoints}
    assert found.slices == {("default", "a"): tuple(slices)}
    assert (found.faults, found.files) == ((), 3)


def test_of_two_objects_of_one_name_the_first_counts_and_the_other_is_a_fault() -> None:
    first, second = resource("Service", "a", 1, **PORTS), resource("Service", "a", 9, **PORTS)
    found = ResourceSet.of([first, second, resource("ConfigMap", "a")])
    assert found.services == {("default", "a"): first}
    (fault,) = found.faults
    assert (fault.severity, fault.code, fault.line) == (Severity.ERROR, "object_twice", 9)
    assert fault.message == "Service default/a is already written at f.yaml:1, which is the one that counts"


def test_a_kind_that_is_not_read_is_noted_once() -> None:
    def note(kind: str, line: int) -> Fault:
        return Fault(Severity.INFO, KIND_IGNORED, kind, "", "", "f.yaml", line, 1, f"v1 {kind} is not read")

    other = Fault(Severity.ERROR, "x", "", "", "", "f.yaml", 1, 1, "x")
    found = ResourceSet.of([], [note("Pod", 1), other, note("Job", 2), note("Pod", 3), other])
    assert found.faults == (note("Pod", 1), other, note("Job", 2), other)


def slice_of(service: str, name: str = "a-1", line: int = 1) -> Resource[Kind]:
    labels = {"kubernetes.io/service-name": service}
    return resource("EndpointSlice", name, line, version="discovery.k8s.io/v1", addressType="IPv4", labels=labels)


def test_an_object_takes_the_place_of_another_and_all_else_is_shared() -> None:
    services = [resource("Service", name, **PORTS) for name in "abc"]
    slices = [slice_of("a"), slice_of("a", "a-2")]
    before = ResourceSet.of([*services, *slices, resource("Secret", "a")], files=2)
    new = [resource("Service", "b", 5, **PORTS), slice_of("a", line=9)]
    note = Fault(Severity.INFO, KIND_IGNORED, "", "", "", "f.yaml", 1, 1, "not read")
    after = before.replaced([(services[1], new[0]), (slices[0], new[1])], [note, note])
    assert after is not None
    assert list(after.services.items()) == [
        (("default", "a"), services[0]),
        (("default", "b"), new[0]),
        (("default", "c"), services[2]),
    ]
    assert after.slices == {("default", "a"): (new[1], slices[1])}
    assert after.secrets is before.secrets
    assert (after.faults, after.files) == ((note,), 2)
    assert before.services["default", "b"] is services[1], "the set before is as it was"
    again = after.replaced([(new[0], services[1])], None)
    assert again is not None
    assert (again.services["default", "b"], again.faults) == (services[1], (note,))


def test_a_set_has_to_be_arranged_anew_when_order_or_twins_depend_on_an_edit() -> None:
    one, other = resource("Service", "a", 1, **PORTS), resource("Service", "a", 9, **PORTS)
    assert ResourceSet.of([one, other]).replaced([(one, resource("Service", "a", 2, **PORTS))], []) is None
    slice_ = slice_of("a")
    assert ResourceSet.of([slice_]).replaced([(slice_, slice_of("b"))], []) is None
