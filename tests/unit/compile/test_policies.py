"""Annotations: both prefixes, what is said about each, and that a guard closes a route rather than leaving it open."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.policies import NGINX, OURS, Policy, read_policy, site_of
from ingressd.compile.references import References
from ingressd.errors import Fault, Severity
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.unsupported import GUARDS, LEFT_OUT
from tests.unit.compile.manifests import backend, compiled, ingress, options, path, resources, rule, service


def _read(annotations: dict[str, str]) -> tuple[Policy, list[Fault]]:
    faults: list[Fault] = []
    known = resources(ingress(annotations=annotations, rules=[rule("a.test")]))
    (resource,) = known.ingresses
    references = References(resource, known, lambda name, annotation: None)
    return read_policy(resource, options(), references, faults), faults


def test_an_annotation_is_read_or_a_guard_or_not_built() -> None:
    assert not GUARDS.keys() & LEFT_OUT.keys()
    assert not ANNOTATIONS.keys() & (GUARDS.keys() | LEFT_OUT.keys())


@pytest.mark.parametrize("prefix", [OURS, NGINX])
@pytest.mark.parametrize("name", sorted(GUARDS))
def test_a_guard_that_is_not_built_closes_every_route_of_its_ingress(name: str, prefix: str) -> None:
    rules = [rule("a.test", path(), path("/x", path_type="Exact"))]
    compilation = compiled(
        service(), ingress(annotations={f"{prefix}{name}": "value"}, rules=rules, defaultBackend=backend())
    )
    rows = compilation.routes
    assert len(rows) == 4
    assert all(f"{prefix}{name}" in row.route.denied and row.as_dict()["denied"] for row in rows)
    (fault,) = compilation.faults
    assert (fault.severity, fault.code) == (Severity.ERROR, "annotation_guard_unsupported")


@pytest.mark.parametrize("prefix", [OURS, NGINX])
@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_any_other_annotation_that_is_not_built_is_named_and_closes_nothing(name: str, prefix: str) -> None:
    policy, (fault,) = _read({f"{prefix}{name}": "value"})
    assert (policy.values, policy.denied) == ({}, "")
    assert (fault.severity, fault.code) == (Severity.WARNING, "annotation_unsupported")
    assert f"{prefix}{name}" in fault.message


@settings(deadline=None)
@given(st.sampled_from(sorted({*ANNOTATIONS, *GUARDS, *LEFT_OUT})), st.sampled_from([OURS, NGINX]), st.data())
def test_a_letter_that_is_missing_is_found(name: str, prefix: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(name) - 2))
    wrong = name[:place] + name[place + 1 :]
    if wrong in {*ANNOTATIONS, *GUARDS, *LEFT_OUT}:
        return
    policy, (fault,) = _read({f"{prefix}{wrong}": "true"})
    shown, slash, meant = fault.hint.removeprefix("did you mean ").removesuffix("?").partition("/")
    native = meant in ANNOTATIONS and ANNOTATIONS[meant].native
    assert f"{shown}{slash}" == (OURS if native else prefix)
    guards = meant in GUARDS or (meant in ANNOTATIONS and ANNOTATIONS[meant].guard)
    assert fault.code == ("annotation_guard_unknown" if guards else "annotation_unknown")
    assert bool(policy.denied) is guards


@pytest.mark.parametrize("prefix", [OURS, NGINX])
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("whitelist-source-rang", "whitelist-source-range"),
        ("allowlist-sourcerange", "allowlist-source-range"),
        ("deny-list-source-range", "denylist-source-range"),
        ("auth-ulr", "auth-url"),
        ("auth-tpye", "auth-type"),
        ("auth-tls-verify-clients", "auth-tls-verify-client"),
        ("satisfies", "satisfy"),
    ],
)
def test_a_misspelled_guard_closes_every_route_of_its_ingress(wrong: str, meant: str, prefix: str) -> None:
    annotations = {f"{prefix}{wrong}": "10.0.0.0/8"}
    compilation = compiled(service(), ingress(annotations=annotations, rules=[rule("a.test", path(), path("/x"))]))
    assert [wrong in row.route.denied for row in compilation.routes] == [True, True]
    (fault,) = compilation.faults
    assert (fault.severity, fault.code) == (Severity.ERROR, "annotation_guard_unknown")
    assert fault.hint == f"did you mean {prefix}{meant}?"


@pytest.mark.parametrize("name", ["quite-another-thing", "ssl-redirct", "rewrite-targets"])
def test_an_annotation_that_looks_like_no_guard_closes_nothing(name: str) -> None:
    policy, (fault,) = _read({f"{NGINX}{name}": "x"})
    assert (policy.denied, fault.severity, fault.code) == ("", Severity.WARNING, "annotation_unknown")


def test_annotations_of_others_are_none_of_ours() -> None:
    others = {
        "cert-manager.io/cluster-issuer": "x",
        "ssl-redirect": "false",
        "nginx.org/ssl-redirect": "x",
        "kubernetes.io/ingress.class": "nginx",
        "x.ingressd.dev/ssl-redirect": "false",
    }
    policy, faults = _read(others)
    assert (policy.values, policy.denied, faults) == ({}, "", [])


@pytest.mark.parametrize(
    ("nginx", "ours", "value", "invalid"),
    [
        ("true", None, True, 0),
        ("false", None, False, 0),
        (None, "false", False, 0),
        ("true", "false", False, 0),
        ("false", "true", True, 0),
        ("false", "perhaps", False, 1),
        ("perhaps", "false", False, 1),
        ("perhaps", None, None, 1),
        ("perhaps", "", None, 2),
    ],
)
def test_our_prefix_wins_and_an_invalid_value_is_as_if_it_were_not_there(
    nginx: str | None, ours: str | None, value: bool | None, invalid: int
) -> None:
    for order in (1, -1):
        written = [(f"{NGINX}ssl-redirect", nginx), (f"{OURS}ssl-redirect", ours)][::order]
        policy, faults = _read({key: text for key, text in written if text is not None})
        assert policy.values.get("ssl-redirect") is value
        assert [fault.code for fault in faults] == ["annotation_invalid"] * invalid


def test_a_fault_stands_at_the_value_and_says_what_it_must_be() -> None:
    _, (fault,) = _read({f"{NGINX}force-ssl-redirect": "on"})
    assert fault.severity is Severity.ERROR
    assert fault.message == (
        'nginx.ingress.kubernetes.io/force-ssl-redirect: "on" must be "true" or "false"; it is left out'
    )
    assert fault.line == 1
    assert fault.column > 1


@pytest.mark.parametrize(
    ("https_port", "redirect_port", "https", "port"),
    [
        (8443, 0, True, 8443),
        (8443, 443, True, 443),
        (None, 0, False, 443),
        (None, 9443, False, 9443),
        (0, 0, True, 443),
    ],
)
def test_the_port_of_https_is_that_which_clients_see(
    https_port: int | None, redirect_port: int, port: int, *, https: bool
) -> None:
    decided = options(https_port=https_port, https_redirect_port=redirect_port)
    site = site_of("a.test", tls=True, options=decided)
    assert (site.host, site.tls, site.https, site.https_redirect_port) == ("a.test", True, https, port)
