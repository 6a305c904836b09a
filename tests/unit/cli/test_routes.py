from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.usefixtures("shop")
def test_the_table_says_where_each_route_leads_and_where_it_is_written(ingressd: Any) -> None:
    done = ingressd("routes", "shop")
    assert (done.code, done.err) == (0, "")
    title, cart, root = (line.split(maxsplit=4) for line in done.out.splitlines())
    assert title[:4] == ["HOST", "PATH", "TYPE", "SERVICE"]
    assert cart[:4] == ["shop.example", "/cart", "Prefix", "cart:80"]
    assert cart[4].split() == ["dns", "cart:8000", "default/shop", "shop/ingress.yaml:14"]
    assert root[:4] == ["shop.example", "/", "Prefix", "web:80"]
    assert root[4].split() == ["10.0.0.1:8080,", "10.0.0.2:8080", "default/shop", "shop/ingress.yaml:11"]


def test_a_route_without_endpoints_says_why(ingressd: Any, shop: Path) -> None:
    (shop / "services.yaml").unlink()
    assert "none: there is no Service default/cart" in ingressd("routes", "shop").out
    assert "none: " in ingressd("routes", "--discovery", "off", "shop").out


def test_a_route_that_is_closed_says_why(ingressd: Any, shop: Path) -> None:
    guarded = (
        (shop / "ingress.yaml")
        .read_text()
        .replace("  name: shop\n", "  name: shop\n  annotations: {nginx.ingress.kubernetes.io/auth-type: basic}\n")
    )
    (shop / "ingress.yaml").write_text(guarded)
    assert (
        "denied: nginx.ingress.kubernetes.io/auth-type: there are no users without auth-secret"
        in ingressd("routes", "shop").out
    )


def test_a_route_that_takes_only_some_requests_says_which(ingressd: Any, shop: Path) -> None:
    own = (shop / "ingress.yaml").read_text()
    canary = own.replace("  name: shop\n", "  name: new\n  annotations: {ingressd.dev/match-headers: X-Env=beta}\n")
    (shop / "new.yaml").write_text(canary)
    out = ingressd("routes", "shop").out
    assert out.count("(header x-env=beta)") == 2
    rows = json.loads(ingressd("routes", "--output", "json", "shop").out)
    assert [(row["ingress"], row["condition"]) for row in rows] == [
        ("shop", ""),
        ("new", "header x-env=beta"),
        ("shop", ""),
        ("new", "header x-env=beta"),
    ]


def test_many_endpoints_are_counted(ingressd: Any, shop: Path) -> None:
    many = ", ".join(f"10.0.0.{number}:1" for number in range(1, 11))
    services = (shop / "services.yaml").read_text().replace("10.0.0.1:8080, 10.0.0.2:8080", many)
    (shop / "services.yaml").write_text(services)
    assert "10.0.0.1:1, 10.0.0.2:1, 10.0.0.3:1, 7 more" in ingressd("routes", "shop").out


@pytest.mark.usefixtures("shop")
def test_the_operators_own_default_backend_is_in_the_table_without_a_place(ingressd: Any) -> None:
    last = ingressd("routes", "--default-backend", "default/web:80", "shop").out.splitlines()[-1].split()
    assert last[:4] == ["*", "/", "Default", "web:80"]
    assert last[-1] == "--default-backend"


@pytest.mark.usefixtures("shop")
def test_for_programs_there_are_the_rows_of_the_api(ingressd: Any) -> None:
    done = ingressd("routes", "--output", "json", "shop")
    rows = json.loads(done.out)
    assert [row["path"] for row in rows] == ["/cart", "/"]
    assert rows[1] == {
        "id": "default/shop shop.example / Prefix",
        "host": "shop.example",
        "path": "/",
        "path_type": "Prefix",
        "namespace": "default",
        "ingress": "shop",
        "service": "web",
        "port": "80",
        "tls": False,
        "endpoints": ["10.0.0.1:8080", "10.0.0.2:8080"],
        "problem": "",
        "filters": [],
        "denied": False,
        "condition": "",
        "file": "shop/ingress.yaml",
        "line": 11,
    }


def test_an_empty_table_says_what_that_means(ingressd: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = ingressd("routes", "empty")
    assert (done.code, done.out.startswith("no routes: every request gets 404")) == (0, True)
    assert ingressd("routes", "--output", "json", "empty").out == "[]\n"
