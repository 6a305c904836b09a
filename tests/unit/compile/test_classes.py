"""Which Ingresses are served, and in which order: the switches of the operator, and the total order under any other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.classes import ClassMemory, served_ingresses
from ingressd.errors import Fault, Severity
from tests.unit.compile.manifests import Object, ingress, options, resources, rule


def _served(*objects: Object, **changes: bool | str) -> tuple[list[str], list[Fault]]:
    faults: list[Fault] = []
    served = served_ingresses(resources(*objects), options(**changes), faults, ClassMemory())
    return [f"{each.namespace}/{each.name}" for each in served.now], faults


def _class(name: str, controller: str, *, default: bool = False) -> Object:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": controller},
    }


OURS, INGRESS_NGINX, FOREIGN = (
    "ingressd.dev/ingress-controller",
    "k8s.io/ingress-nginx",
    "traefik.io/ingress-controller",
)


@pytest.mark.parametrize("nginx", [True, False])
@pytest.mark.parametrize("classless", [True, False])
@pytest.mark.parametrize(
    ("class_name", "served"),
    [
        ("ingressd", "always"),
        ("public", "always"),
        ("nginx", "nginx"),
        ("internal", "nginx"),
        ("traefik", "never"),
        ("undeclared", "never"),
        (None, "classless"),
    ],
)
def test_the_class_and_the_switches_decide(
    class_name: str | None, served: str, *, nginx: bool, classless: bool
) -> None:
    spec = {} if class_name is None else {"ingressClassName": class_name}
    names, faults = _served(
        _class("public", OURS),
        _class("internal", INGRESS_NGINX),
        _class("traefik", FOREIGN),
        ingress(rules=[rule("a.test")], **spec),
        nginx_class=nginx,
        classless=classless,
    )
    expected = {"always": True, "never": False, "nginx": nginx, "classless": classless}[served]
    assert names == (["default/web"] if expected else [])
    assert [(fault.severity, fault.code) for fault in faults] == (
        [] if expected else [(Severity.INFO, "class_skipped")]
    )


@pytest.mark.parametrize("classless", [True, False])
@pytest.mark.parametrize(("controller", "served"), [(OURS, True), (FOREIGN, False)])
def test_a_default_class_decides_about_ingresses_without_one(controller: str, *, served: bool, classless: bool) -> None:
    names, _ = _served(_class("main", controller, default=True), ingress(rules=[rule("a.test")]), classless=classless)
    assert bool(names) is served


def test_a_default_class_of_ingress_nginx_follows_the_switch_for_nginx() -> None:
    objects = _class("nginx", INGRESS_NGINX, default=True), ingress(rules=[rule("a.test")])
    assert _served(*objects)[0] == ["default/web"]
    names, (fault,) = _served(*objects, nginx_class=False)
    assert names == []
    assert fault.hint == "run with --nginx-class to serve it"


def test_is_default_class_has_to_say_true() -> None:
    other = _class("traefik", FOREIGN)
    other["metadata"]["annotations"] = {"ingressclass.kubernetes.io/is-default-class": "false"}
    assert _served(other, ingress(rules=[rule("a.test")]))[0] == ["default/web"]


def test_the_ingress_class_of_the_operator_replaces_ingressd() -> None:
    objects = (
        ingress("a", ingressClassName="edge", rules=[rule("a.test")]),
        ingress("b", ingressClassName="ingressd", rules=[rule("a.test")]),
    )
    assert _served(*objects, ingress_class="edge")[0] == ["default/a"]


created = st.sampled_from([None, "2021-05-01T00:00:00Z", "2022-05-01T00:00:00Z", "2022-05-01T00:00:01Z"])
keys = st.tuples(st.sampled_from(["alpha", "beta"]), st.sampled_from(["a", "b", "c", "d"]))


@settings(deadline=None)
@given(st.dictionaries(keys, created, min_size=1), st.randoms(use_true_random=False))
def test_older_ingresses_come_first_then_those_without_a_date_by_namespace_and_name(
    written: dict[tuple[str, str], str | None], random: object
) -> None:
    objects = [
        ingress(name, namespace=namespace, created=date, rules=[rule("a.test")])
        for (namespace, name), date in written.items()
    ]
    random.shuffle(objects)  # type: ignore[attr-defined]
    dated = sorted((date, *key) for key, date in written.items() if date is not None)
    undated = sorted(key for key, date in written.items() if date is None)
    names, faults = _served(*objects)
    assert names == [f"{namespace}/{name}" for _, namespace, name in dated] + ["/".join(key) for key in undated]
    assert faults == []
