from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def edited(shop: Path, tmp_path: Path) -> Path:
    """A copy of `shop`, to be edited."""
    shutil.copytree(shop, tmp_path / "edited")
    return tmp_path / "edited"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.usefixtures("edited")
def test_two_folders_with_the_same_content_do_not_differ(ingressd: Any) -> None:
    done = ingressd("diff", "shop", "edited")
    assert (done.code, done.out, done.err) == (0, "routes: no change\n", "")


def test_what_moves_to_another_line_or_file_is_no_change(ingressd: Any, edited: Path) -> None:
    replace(edited / "ingress.yaml", "apiVersion", "# a comment\napiVersion")
    (edited / "ingress.yaml").rename(edited / "z.yaml")
    assert ingressd("diff", "shop", "edited").code == 0


def test_routes_that_come_go_and_change_are_told_apart(ingressd: Any, edited: Path) -> None:
    replace(edited / "ingress.yaml", "path: /cart", "path: /basket")
    replace(edited / "services.yaml", "10.0.0.2:8080", "10.0.0.3:8080")
    done = ingressd("diff", "shop", "edited")
    assert done.code == 1
    assert done.out.splitlines() == [
        "- shop.example /cart Prefix -> default/cart:80  shop/ingress.yaml:14",
        "+ shop.example /basket Prefix -> default/cart:80  edited/ingress.yaml:14",
        "~ shop.example / Prefix: endpoints [10.0.0.1:8080, 10.0.0.2:8080] -> [10.0.0.1:8080, 10.0.0.3:8080]"
        "  edited/ingress.yaml:11",
        "routes: 1 added, 1 removed, 1 changed",
    ]


def test_a_route_that_asks_somebody_else_has_changed(ingressd: Any, edited: Path) -> None:
    replace(edited / "services.yaml", "targetPort: 8000", "targetPort: 9000")
    done = ingressd("diff", "shop", "edited")
    assert "~ shop.example /cart Prefix: asks [dns cart:8000] -> [dns cart:9000]  edited/ingress.yaml:14" in done.out


def test_a_host_that_gets_tls_has_changed(ingressd: Any, edited: Path) -> None:
    replace(edited / "ingress.yaml", "spec:\n", "spec:\n  tls: [{hosts: [shop.example]}]\n")
    out = ingressd("diff", "shop", "edited").out
    assert "tls False -> True" in out
    assert "filters [] -> [ssl-redirect: 308 to https, port 8443]" in out


def test_faults_that_appear_and_disappear_are_counted_and_shown(ingressd: Any, edited: Path) -> None:
    replace(edited / "ingress.yaml", "name: cart", "name: kart")
    done = ingressd("diff", "shop", "edited")
    assert "+ edited/ingress.yaml:16:" in done.out
    assert done.out.endswith("faults: 1 appear, 0 disappear\n")
    assert ingressd("diff", "edited", "shop").out.endswith("faults: 0 appear, 1 disappear\n")


def test_a_fault_that_both_have_is_none_of_the_changes(ingressd: Any, shop: Path, edited: Path) -> None:
    for folder in (shop, edited):
        (folder / "twice.yaml").write_text((folder / "ingress.yaml").read_text())
    replace(edited / "ingress.yaml", "apiVersion", "# a comment\napiVersion")
    assert "object_twice" in ingressd("check", "shop").out
    done = ingressd("diff", "shop", "edited")
    assert (done.code, done.out) == (0, "routes: no change\n")


def test_for_programs_rows_and_faults_are_whole(ingressd: Any, edited: Path) -> None:
    replace(edited / "ingress.yaml", "name: cart", "name: web")
    done = ingressd("diff", "--output", "json", "shop", "edited")
    assert done.code == 1
    changes = json.loads(done.out)
    assert (changes["added"], changes["removed"]) == ([], [])
    (changed,) = changes["changed"]
    assert (changed["old"]["service"], changed["new"]["service"]) == ("cart", "web")
    assert changed["fields"] == ["service", "endpoints", "asks"]
    assert changes["faults"] == {"appeared": [], "disappeared": []}


def test_a_default_backend_of_an_ingress_and_that_of_all_hosts_are_two_routes(ingressd: Any, edited: Path) -> None:
    replace(
        edited / "ingress.yaml",
        "  rules:\n    - host: shop.example\n",
        "  defaultBackend: {service: {name: web, port: {number: 80}}}\n  rules:\n    - host: shop.example\n",
    )
    lines = ingressd("diff", "shop", "edited").out.splitlines()
    assert [line.partition(" -> ")[0] for line in lines[:2]] == ["+ shop.example / Default", "+ * / Default"]
