from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.answering import Answering

MORE = """\
---
apiVersion: v1
kind: Service
metadata:
  name: redis
  annotations:
    ingressd.dev/endpoints: 10.0.1.1:6379;weight=2, 10.0.1.2:6379
    ingressd.dev/scheduler: random
spec:
  type: NodePort
  externalIPs: [127.0.0.9]
  ports: [{port: 6379, nodePort: 30379}]
---
apiVersion: v1
kind: Service
metadata: {name: pay}
spec: {type: ExternalName, externalName: pay.example.com}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: peers-1, labels: {kubernetes.io/service-name: peers}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.0.2.1]}, {addresses: [10.0.2.2]}, {addresses: [10.0.2.3]}, {addresses: [10.0.2.4]}]
"""

Lines = Callable[..., dict[str, str]]


@pytest.fixture
def lines(ingressd: Any, shop: Path) -> Lines:
    """The lines of `ingressd services shop` by their first word, spaces as one."""
    with (shop / "services.yaml").open("a") as file:
        file.write(MORE)

    def run(*flags: str) -> dict[str, str]:
        done = ingressd("services", "shop", *flags)
        assert (done.code, done.err) == (0, "")
        return {line.split()[0]: " ".join(line.split()) for line in done.out.splitlines()}

    return run


def test_each_service_port_has_its_addresses_who_picks_and_its_endpoints(lines: Lines) -> None:
    shown = lines()
    assert shown["SERVICE"] == "SERVICE TYPE ADDRESSES MODE SCHEDULER ENDPOINTS PLACE"
    assert shown["default/redis:6379"] == (
        "default/redis:6379 NodePort 0.0.0.0:30379 (nodePort), 127.0.0.9:6379 (externalIP) iptables, nftables random"
        " 10.0.1.1:6379 (static weight 2), 10.0.1.2:6379 (static) shop/services.yaml:20"
    )
    assert shown["default/cart:80"] == "default/cart:80 ClusterIP ipvs rr dns cart shop/services.yaml:11"


def test_a_service_that_nobody_uses_is_one_line_too(lines: Lines) -> None:
    shown = lines()
    assert shown["default/pay"].startswith("default/pay ExternalName -> pay.example.com shop/services.yaml:")
    assert shown["default/peers"].startswith(
        "default/peers headless 10.0.2.1, 10.0.2.2, 10.0.2.3, 1 more (names only) shop/services.yaml:"
    )


def test_flags_of_the_program_change_what_is_shown(lines: Lines) -> None:
    shown = lines("--cluster-ips", "--cluster-cidr=127.99.0.0/16", "--no-node-ports", "--scheduler=lc")
    assert "30379" not in shown["default/redis:6379"]
    assert "127.99." in shown["default/cart:80"]
    assert ":80 (clusterIP) ipvs lc " in shown["default/cart:80"]


def test_a_service_that_is_missing_is_shown_because_a_route_names_it(ingressd: Any, shop: Path) -> None:
    (shop / "services.yaml").unlink()
    (line,) = (line for line in ingressd("services", "shop").out.splitlines() if line.startswith("default/cart"))
    assert " ".join(line.split()) == "default/cart:80 missing ipvs rr none: there is no Service default/cart"


def test_many_endpoints_are_counted(ingressd: Any, shop: Path) -> None:
    many = ", ".join(f"10.0.0.{number}:1" for number in range(1, 11))
    services = (shop / "services.yaml").read_text().replace("10.0.0.1:8080, 10.0.0.2:8080", many)
    (shop / "services.yaml").write_text(services)
    assert "10.0.0.3:1 (static), 7 more" in ingressd("services", "shop").out


@pytest.mark.usefixtures("shop")
def test_for_programs_there_are_the_rows_of_the_api(ingressd: Any) -> None:
    rows = json.loads(ingressd("services", "--output", "json", "--cluster-domain", "corp.example", "shop").out)
    cart, web = rows
    assert (cart["name"], cart["dns_name"]) == ("cart", "cart.default.svc.corp.example")
    assert [each["endpoint"] for each in web["pools"][0]["endpoints"]] == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert "live" not in web["pools"][0]


def test_without_services_it_says_so(ingressd: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert ingressd("services", "empty").out.startswith("no Services")
    assert ingressd("services", "--output", "json", "empty").out == "[]\n"


def test_a_running_program_has_one_url(ingressd: Any) -> None:
    done = ingressd("services", "--live", "shop", "http://127.0.0.1:9080")
    assert (done.code, done.out) == (2, "")
    assert done.err == "ingressd: --live takes one URL, such as http://127.0.0.1:9080, and no folders\n"


def test_another_program_is_not_taken_for_ingressd(ingressd: Any, server: Answering) -> None:
    server.body = b'[{"name": "web"}]'
    done = ingressd("services", "--live", server.url)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("ingressd: what was asked is another version of ingressd, or none")
    assert ingressd("services", "--live", server.url, "--output", "json").code == 0


def test_the_token_of_a_file_or_of_the_environment_is_sent(
    ingressd: Any, server: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = b"[]"
    (tmp_path / "token").write_text("the-token-of-the-file\n")
    ingressd("services", "--live", server.url, "--admin-token-file", "token")
    monkeypatch.setenv("INGRESSD_ADMIN_TOKEN", "the-token-of-the-environment")
    assert ingressd("services", "--live", server.url).out.startswith("no Services")
    assert server.seen == [
        ("/api/v1/services", "Bearer the-token-of-the-file"),
        ("/api/v1/services", "Bearer the-token-of-the-environment"),
    ]
