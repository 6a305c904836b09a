"""Annotations: both prefixes, what is said about each, and that a guard closes a route rather than leaving it open."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingressd.compile.compiler import Compiler
from ingressd.compile.policies import NGINX, OURS, Policy, read_policy, site_of
from ingressd.compile.references import References
from ingressd.errors import Fault, Severity
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.unsupported import GUARDS, LEFT_OUT
from tests.unit.compile.manifests import (
    Object,
    backend,
    codes,
    compiled,
    ingress,
    options,
    path,
    resources,
    rule,
    service,
    slice_of,
)


def _read(annotations: dict[str, str]) -> tuple[Policy, list[Fault]]:
    faults: list[Fault] = []
    known = resources(ingress(annotations=annotations, rules=[rule("a.test")]))
    (resource,) = known.ingresses
    references = References(resource, known, lambda name, annotation: None, cluster_domain="cluster.local")
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


@pytest.mark.parametrize(
    ("protocol", "app_protocol", "said"),
    [
        ("", None, True),
        ("", "http", True),
        ("", "https", False),
        ("", "HTTPS", False),
        ("", "kubernetes.io/wss", False),
        ("HTTPS", None, False),
        ("AUTO_HTTP", None, False),
        ("HTTP", "https", True),
    ],
)
def test_tls_annotations_for_endpoints_that_are_spoken_to_without_tls_are_a_warning(
    protocol: str, app_protocol: str | None, said: bool
) -> None:
    written = {f"{NGINX}proxy-ssl-verify": "off", **({f"{NGINX}backend-protocol": protocol} if protocol else {})}
    port = {"port": 80, "name": "web", **({"appProtocol": app_protocol} if app_protocol else {})}
    rules = [rule("a.test", path("/"), path("/named", port="web"))]
    compilation = compiled(
        service(ports=[{"port": 81, "name": "other", "appProtocol": "https"}, port]),
        slice_of(),
        ingress(annotations=written, rules=rules),
    )
    told = [fault for fault in compilation.faults if fault.code == "annotation_differs"]
    assert [(fault.severity, fault.message.partition(",")[0]) for fault in told] == (
        [(Severity.WARNING, f"{NGINX}proxy-ssl-verify: it has no effect")] if said else []
    )


def test_tls_annotations_for_a_service_that_is_not_there_are_judged_when_it_comes() -> None:
    written = ingress(annotations={f"{OURS}proxy-ssl-server-name": "on"}, rules=[rule("a.test", path("/"))])
    compiler = Compiler()
    alone = compiler.compile(resources(written), {}, options())
    assert codes(alone) == ["service_missing"]
    both = compiler.compile(resources(written, service(), slice_of()), {}, options())
    assert codes(both) == ["annotation_differs"]


@pytest.mark.parametrize("form", ["{}", " {}", "{} ", "{}\n", "\t{}\n\n"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("affinity", "cookie"),
        ("app-root", "/x"),
        ("auth-method", "POST"),
        ("permanent-redirect", "https://b.test$request_uri"),
        ("proxy-read-timeout", "10"),
        ("rewrite-target", "/$1"),
        ("ssl-redirect", "false"),
        ("x-forwarded-prefix", "/app"),
    ],
)
def test_blanks_and_line_breaks_around_a_value_mean_nothing_as_in_ingress_nginx(
    name: str, text: str, form: str
) -> None:
    policy, faults = _read({f"{NGINX}{name}": form.format(text)})
    assert not faults
    assert policy.values == {name: ANNOTATIONS[name].parse(text)}


def test_fields_that_end_in_a_line_break_are_lines() -> None:
    policy, faults = _read(
        {f"{OURS}response-headers-set": "X-A: b; c\n", f"{OURS}response-headers-add": "X-B: c; X-D: e"}
    )
    assert not faults
    assert [len(policy.values[name]) for name in ("response-headers-set", "response-headers-add")] == [1, 2]


def test_a_canary_is_one_with_blanks_around_its_value_too() -> None:
    policy, faults = _read({f"{NGINX}canary": "true\n", f"{NGINX}canary-weight": "10 "})
    assert (policy.canary, policy.values["canary-weight"], faults) == (True, 10, [])


def test_a_value_of_blanks_is_none() -> None:
    policy, faults = _read({f"{NGINX}app-root": " ", f"{NGINX}whitelist-source-range": "\n"})
    assert [fault.code for fault in faults] == ["annotation_invalid"] * 2
    assert policy.denied


SHAPING = {
    "affinity": ("cookie",),
    "app-root": ("/app",),
    "auth-tls-secret": ("none",),
    "auth-url": ("http://web.default.svc/", "http://none.default.svc"),
    "backend-protocol": ("AUTO_HTTP", "HTTPS", "GRPC"),
    "canary": ("true", "perhaps"),
    "canary-weight": ("10",),
    "custom-http-errors": ("404",),
    "default-backend": ("web", "none"),
    "from-to-www-redirect": ("true",),
    "load-balance": ("ewma",),
    "match-methods": ("GET", "get"),
    "mirror-target": ("http://web.default.svc$request_uri", "http://$host/"),
    "proxy-ssl-server-name": ("on",),
    "rewrite-target": ("/$1", "/$0"),
    "server-alias": ("b.test, *.c.test, ~x", "www.a.test"),
    "ssl-passthrough": ("true",),
    "use-regex": ("true",),
}
"""Annotations that change which hosts, routes and pools there are; some values mean nothing."""

annotated = st.dictionaries(st.sampled_from(sorted(SHAPING)), st.integers(0, 2), max_size=4).map(
    lambda chosen: {f"{OURS}{name}": SHAPING[name][number % len(SHAPING[name])] for name, number in chosen.items()}
)
ruled = st.lists(
    st.builds(
        rule,
        st.sampled_from(["a.test", "www.a.test", "*.c.test", ""]),
        st.builds(path, st.sampled_from(["/", "/x", "/x/(.*)"]), st.sampled_from(["web", "none"])),
    )
    | st.builds(rule, st.just("a.test")),
    max_size=2,
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(annotated, ruled), min_size=1, max_size=3), st.booleans())
def test_whatever_annotations_say_together_there_is_a_snapshot_and_each_of_its_routes_has_its_pool(
    written: list[tuple[dict[str, str], list[Object]]], default: bool
) -> None:
    """An edit that cannot be compiled would keep out every later one, too."""
    ingresses = [
        ingress(
            f"i{number}", annotations=annotations, rules=rules, **({"defaultBackend": backend()} if default else {})
        )
        for number, (annotations, rules) in enumerate(written)
    ]
    compilation = compiled(service(), *ingresses, ssl_passthrough=True)
    for row in compilation.routes:
        route = row.route
        for each in (route, *(alternative.route for alternative in route.alternatives)):
            assert each.pool in compilation.snapshot.pools
