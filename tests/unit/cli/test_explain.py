from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SECOND = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
spec:
  ingressClassName: {ingress_class}
  rules:
    - host: {host}
      http:
        paths:
          - path: /
            pathType: {path_type}
            backend: {{service: {{name: web, port: {{number: 80}}}}}}
"""


def add(folder: Path, name: str, host: str, ingress_class: str = "ingressd", path_type: str = "Prefix") -> None:
    text = SECOND.format(name=name, host=host, ingress_class=ingress_class, path_type=path_type)
    (folder / f"{name}.yaml").write_text(text)


@pytest.mark.usefixtures("shop")
def test_the_winner_the_losers_and_what_happens_next_are_told_in_this_order(ingressd: Any) -> None:
    done = ingressd("explain", "http://shop.example/cart/7", "shop")
    assert (done.code, done.err) == (0, "")
    expected = [
        "GET http://shop.example/cart/7",
        "1. The host",
        "won    shop.example",
        "missed *.example",
        "missed *",
        "2. The path",
        "won    Prefix /cart -> cart:80",
        "Prefix /cart is the longest that takes /cart/7",
        "shop/ingress.yaml:14 Ingress default/shop",
        "lost   Prefix / -> web:80",
        "shop/ingress.yaml:11",
        "3. What happens next",
        "proxied by http to an endpoint of default/cart:80, picked by rr:",
        "what dns cart:8000 answers, which a running proxy asks",
    ]
    position = 0
    for words in expected:
        position = done.out.find(words, position)
        assert position >= 0, f"{words!r} is missing or too early in:\n{done.out}"


@pytest.mark.usefixtures("shop")
def test_endpoints_that_are_written_down_are_named(ingressd: Any) -> None:
    assert "rr:\n     10.0.0.1:8080\n     10.0.0.2:8080\n" in ingressd("explain", "shop.example", "shop").out


def test_a_service_that_is_missing_is_a_503_with_its_reason(ingressd: Any, shop: Path) -> None:
    (shop / "services.yaml").unlink()
    done = ingressd("explain", "shop.example", "shop")
    assert done.code == 0
    assert "503 no_endpoints: there is no Service default/web" in done.out


@pytest.mark.usefixtures("shop")
def test_without_discovery_a_service_without_endpoints_is_a_503(ingressd: Any) -> None:
    assert "503 no_endpoints" in ingressd("explain", "--discovery", "off", "shop.example/cart", "shop").out


def test_a_redirect_names_its_location(ingressd: Any, shop: Path) -> None:
    text = (shop / "ingress.yaml").read_text().replace("spec:\n", "spec:\n  tls: [{hosts: [shop.example]}]\n")
    (shop / "ingress.yaml").write_text(text)
    done = ingressd("explain", "http://shop.example/cart?a=b", "shop")
    assert "308 redirect\n   Location: https://shop.example:8443/cart?a=b\n" in done.out
    assert "proxied by" in ingressd("explain", "https://shop.example/cart", "shop").out


@pytest.mark.usefixtures("shop")
def test_an_unknown_host_is_a_404_that_names_the_nearest_one(ingressd: Any) -> None:
    done = ingressd("explain", "http://shopp.example/", "shop")
    assert done.code == 0
    assert "404 no_route" in done.out
    assert "no rule names the host shopp.example; the nearest: shop.example" in done.out


def test_a_miss_by_path_says_why_each_path_missed_and_nothing_about_hosts(ingressd: Any, shop: Path) -> None:
    text = (shop / "ingress.yaml").read_text().replace("path: /\n", "path: /other\n")
    (shop / "ingress.yaml").write_text(text)
    done = ingressd("explain", "http://shop.example/cartoon", "shop")
    assert "missed Prefix /cart -> cart:80" in done.out
    assert "Prefix /cart compares whole elements: cartoon is not cart" in done.out
    assert "404 no_route" in done.out
    assert "no rule names the host" not in done.out


def test_an_ingress_of_another_class_that_would_take_it_is_named(ingressd: Any, shop: Path) -> None:
    add(shop, "foreign", "bank.example", ingress_class="traefik")
    done = ingressd("explain", "http://bank.example/", "shop")
    assert "shop/foreign.yaml:4: Ingress default/foreign names bank.example, but" in done.out
    assert "class traefik is not ours" in done.out
    assert "[class_skipped]" in done.out


def test_an_ingress_with_a_mistake_is_named(ingressd: Any, shop: Path) -> None:
    add(shop, "broken", "bank.example", path_type="Prefixed")
    done = ingressd("explain", "http://bank.example/", "shop")
    assert "not read because of mistakes, see `ingressd check`: Ingress default/broken" in done.out


@pytest.mark.usefixtures("shop")
def test_method_and_fields_are_those_of_curl(ingressd: Any) -> None:
    done = ingressd("explain", "-X", "POST", "-H", "Host: shop.example", "http://127.0.0.1:8080/cart", "shop")
    assert done.out.startswith("POST http://shop.example/cart\n")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["http://shop.example/%zz"], "would be refused with 400"),
        (["http://bücher.example/"], "would be refused with 400"),
        (["-H", "nonsense", "shop.example"], "--header: 'nonsense' is not 'NAME: VALUE'"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(ingressd: Any, arguments: list[str], message: str) -> None:
    done = ingressd("explain", *arguments, "shop")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


@pytest.mark.usefixtures("shop")
def test_for_programs_there_is_the_answer_of_the_api_and_more(ingressd: Any) -> None:
    answer = json.loads(ingressd("explain", "--output", "json", "http://shop.example/cart", "shop").out)
    assert answer["route"] == "default/shop shop.example /cart Prefix"
    assert answer["routes"][0]["outcome"] == "won"
    assert answer["outcome"] == {
        "action": "proxy",
        "pool": "default/cart:80",
        "scheduler": "rr",
        "affinity_s": 0,
        "tls": False,
        "endpoints": [],
        "asks": ["dns cart:8000"],
    }
    missed = json.loads(ingressd("explain", "--output", "json", "http://other.test/", "shop").out)
    assert (missed["outcome"]["status"], missed["outcome"]["reason"]) == (404, "no_route")
    assert missed["notes"] == ["no rule names the host other.test"]


def test_of_hundreds_of_paths_those_that_miss_are_counted(ingressd: Any, shop: Path) -> None:
    paths = "".join(
        f"          - {{path: /p{number}, pathType: Exact,"
        " backend: {service: {name: web, port: {number: 80}}}}\n"
        for number in range(300)
    )
    with (shop / "ingress.yaml").open("a") as file:
        file.write(paths)
    done = ingressd("explain", "http://shop.example/p7", "shop")
    assert "won    Exact /p7 -> web:80" in done.out
    assert "and 280 more paths that do not take it" in done.out


CANARY = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: canary
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-by-header: X-Canary
    nginx.ingress.kubernetes.io/canary-weight: "5"
spec:
  ingressClassName: ingressd
  rules:
    - host: shop.example
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {service: {name: cart, port: {number: 80}}}
"""


def test_a_header_decides_for_a_canary_and_its_share_of_the_others_is_told(ingressd: Any, shop: Path) -> None:
    (shop / "canary.yaml").write_text(CANARY)
    plain = ingressd("explain", "shop.example", "shop").out
    assert "or goes  to default/cart:80: canary: 5 of 100 requests\n" in plain
    assert "proxied by http to an endpoint of default/web:80" in plain
    sent = ingressd("explain", "-H", "X-Canary: always", "shop.example", "shop").out
    assert "proxied by http to an endpoint of default/cart:80" in sent


def test_the_chain_of_the_winner_is_told_before_what_comes_of_it(ingressd: Any, shop: Path) -> None:
    annotations = """\
  annotations:
    ingressd.dev/limit-rps: "10"
    ingressd.dev/upstream-vhost: inside.test
    ingressd.dev/request-headers-set: "X-Team: red"
    ingressd.dev/response-headers-set: "X-Served-By: ingressd"
    ingressd.dev/proxy-body-size: 2k
    ingressd.dev/proxy-read-timeout: "5"
    ingressd.dev/proxy-next-upstream-tries: "1"
"""
    text = (shop / "ingress.yaml").read_text().replace("spec:\n", f"{annotations}spec:\n", 1)
    (shop / "ingress.yaml").write_text(text)
    out = ingressd("explain", "http://shop.example/cart?a=b", "shop").out
    expected = [
        "3. What happens next",
        "asks     limits a client to 10 in 1 s (burst 50)",
        "passes   host inside.test",
        "passes   request headers: X-Team=red",
        "sends    GET /cart?a=b, Host: inside.test",
        "sets     X-Team: red",
        "bounds   connect 5 s, read 5 s, send 60 s, 1 try, body 2048 bytes",
        "returns  response headers: X-Served-By=ingressd",
        "proxied by http to an endpoint of default/cart:80",
    ]
    position = 0
    for words in expected:
        position = out.find(words, position)
        assert position >= 0, f"{words!r} is missing or too early in:\n{out}"
