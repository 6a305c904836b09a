"""Services as the API shows them, before anything has run. tests/process/test_services.py has the rest of the shape."""

from __future__ import annotations

from typing import Any

import pytest

from ingressd.compile.options import StreamOptions
from tests.unit.compile.manifests import Object, compiled, service

STATIC = {"ingressd.dev/endpoints": "10.0.0.1:80;weight=3, 10.0.0.2:80"}


def _rows(*objects: Object, **changes: Any) -> list[dict[str, Any]]:
    return [row.as_dict() for row in compiled(*objects, **changes).services]


def _pool(**annotations: str) -> dict[str, Any]:
    more = {f"ingressd.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    (row,) = _rows(service("web", type="NodePort", annotations={**STATIC, **more}))
    (pool,) = row["pools"]
    return pool


def test_a_service_has_a_name_below_the_cluster_domain() -> None:
    assert _rows(service("web"))[0]["dns_name"] == "web.default.svc.cluster.local"
    assert _rows(service("web"), cluster_domain="corp.example")[0]["dns_name"] == "web.default.svc.corp.example"


def test_a_listener_says_which_pool_takes_what_comes() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    (row,) = _rows(service("web", ports=ports), streams=StreamOptions(cluster_ips=True))
    assert [(each["port"], each["pool"], each["role"]) for each in row["listeners"]] == [
        (80, "default/web:80", "clusterIP"),
        (81, "default/web:81", "clusterIP"),
    ]


def test_external_addresses_are_shown_as_they_are_written() -> None:
    (row,) = _rows(service("web", externalIPs=["127.0.0.9", "192.0.2.1"]))
    assert row["external_ips"] == ["127.0.0.9", "192.0.2.1"]


@pytest.mark.parametrize(
    ("scheduler", "modes"),
    [("rr", ["ipvs"]), ("maglev", ["ipvs"]), ("random", ["iptables", "nftables"]), ("p2c", []), ("ewma", [])],
)
def test_a_scheduler_is_one_of_the_modes_of_kube_proxy(scheduler: str, modes: list[str]) -> None:
    assert _pool(scheduler=scheduler)["proxy_modes"] == modes


def test_every_mode_has_session_affinity() -> None:
    (row,) = _rows(service("web", type="NodePort", sessionAffinity="ClientIP", annotations=STATIC))
    (pool,) = row["pools"]
    assert (pool["affinity_s"], pool["proxy_modes"]) == (10_800, ["iptables", "nftables", "ipvs"])


def test_what_watches_and_bounds_a_pool_is_shown() -> None:
    pool = _pool(
        health_check="http:/healthz",
        health_port="9000",
        outlier_detection="consecutive-5xx=5, base-ejection=10s",
        slow_start="30s",
        panic_threshold="20",
        max_requests="7",
    )
    assert pool["health_check"] == {
        "check": "http:/healthz",
        "port": 9000,
        "interval_s": 10.0,
        "timeout_s": 2.0,
        "fall": 3,
        "rise": 2,
    }
    detection = pool["outlier_detection"]
    assert (detection["consecutive_5xx"], detection["base_ejection_s"]) == (5, 10.0)
    assert (pool["slow_start_s"], pool["panic_percent"], pool["breaker"]["requests"]) == (30.0, 20, 7)


def test_what_is_switched_off_is_null() -> None:
    pool = _pool(outlier_detection="off")
    assert (pool["health_check"], pool["outlier_detection"], pool["breaker"]) == (None, None, None)


def test_endpoints_have_their_weight_and_their_state() -> None:
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": False, "serving": True, "terminating": True}}
        ],
    }
    (row,) = _rows(service("web", type="NodePort"), endpoint_slice)
    (endpoint,) = row["pools"][0]["endpoints"]
    assert (endpoint["healthy"], endpoint["state"], endpoint["source"]) == (True, "terminating", "slices")
