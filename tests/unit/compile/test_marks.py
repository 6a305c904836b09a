"""What checks have found, on the endpoints of a compilation."""

from __future__ import annotations

from dataclasses import replace

from ingressd.compile.marks import marked, targets
from ingressd.table.health import HealthCheck, HealthTarget
from tests.unit.compile.manifests import backend, compiled, ingress, path, rule, service, slice_of

TCP = {"ingressd.dev/health-check": "tcp"}
CHECK = HealthCheck("tcp")
ONE, TWO = (HealthTarget(f"10.0.0.{n}", 8080, CHECK) for n in (1, 2))

COMPILATION = compiled(
    ingress(rules=[rule("a.test", path("/", "checked"), path("/b", "unchecked"))], defaultBackend=backend("other")),
    service("checked", annotations=TCP),
    slice_of("checked", ["10.0.0.1", "10.0.0.2"]),
    service("other", annotations={**TCP, "ingressd.dev/health-port": "9"}),
    slice_of("other", ["10.0.0.1"]),
    service("unchecked"),
    slice_of("unchecked", ["10.0.0.1"]),
)
POOLS = COMPILATION.snapshot.pools


def test_who_is_asked() -> None:
    other = HealthTarget("10.0.0.1", 9, replace(CHECK, port=9))
    assert targets(POOLS) == {ONE, TWO, other}
    assert targets({}) == frozenset()


def test_the_mark_is_on_the_pools_with_that_check_only() -> None:
    pools = marked(COMPILATION, {}, {ONE}).snapshot.pools
    assert [endpoint.healthy for endpoint in pools["default/checked:80"].endpoints] == [False, True]
    for name in ("default/other:80", "default/unchecked:80"):
        assert pools[name] is POOLS[name]


def test_when_all_are_healthy_it_is_the_very_same_compilation() -> None:
    assert marked(COMPILATION, POOLS, frozenset()) is COMPILATION


def test_marks_can_be_taken_off_again() -> None:
    once = marked(COMPILATION, {}, {ONE, TWO})
    assert marked(once, {}, frozenset()).snapshot.pools == POOLS
    other = marked(once, {}, {TWO}).snapshot.pools["default/checked:80"]
    assert [endpoint.healthy for endpoint in other.endpoints] == [True, False]


def test_a_pool_that_says_what_it_said_before_is_the_one_from_before() -> None:
    before = marked(COMPILATION, {}, {ONE}).snapshot.pools
    after = marked(COMPILATION, before, {ONE}).snapshot.pools
    assert after["default/checked:80"] is before["default/checked:80"]
    assert after == before
