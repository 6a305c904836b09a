from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SNIPPET = """\
    nginx.ingress.kubernetes.io/configuration-snippet: |
      more_set_headers "X-Frame-Options: DENY";
"""


@pytest.fixture
def nginx_shop(shop: Path) -> Path:
    text = (shop / "ingress.yaml").read_text().replace("ingressClassName: ingressd", "ingressClassName: nginx")
    (shop / "ingress.yaml").write_text(text)
    return shop


def annotate(folder: Path, lines: str) -> None:
    text = (folder / "ingress.yaml").read_text()
    (folder / "ingress.yaml").write_text(text.replace("spec:\n", f"  annotations:\n{lines}spec:\n", 1))


@pytest.mark.usefixtures("nginx_shop")
def test_what_works_the_same_is_said_and_nothing_fails(ingressd: Any) -> None:
    done = ingressd("migrate", "--strict", "shop")
    assert (done.code, done.err) == (0, "")
    assert "shop/ingress.yaml:4: Ingress default/shop (class nginx; shop.example)\n  works the same\n" in done.out
    assert done.out.endswith("1 Ingresses: 1 work the same, 0 work with a difference, 0 not supported as it is\n")


def test_what_is_not_supported_fails_only_when_strict(ingressd: Any, nginx_shop: Path) -> None:
    annotate(nginx_shop, SNIPPET)
    done = ingressd("migrate", "shop")
    assert done.code == 0
    assert "             ingressd.dev/response-headers-set: |\n               X-Frame-Options: DENY\n" in done.out
    assert ingressd("migrate", "--strict", "shop").code == 1


def test_a_difference_alone_does_not_fail(ingressd: Any, nginx_shop: Path) -> None:
    annotate(nginx_shop, '    nginx.ingress.kubernetes.io/proxy-read-timeout: "120"\n')
    done = ingressd("migrate", "--strict", "shop")
    assert done.code == 0
    assert "works with a difference" in done.out


def test_an_ingress_that_cannot_be_read_fails_when_strict(ingressd: Any, nginx_shop: Path) -> None:
    text = (nginx_shop / "ingress.yaml").read_text().replace("pathType: Prefix", "pathType: Prefixed", 1)
    (nginx_shop / "ingress.yaml").write_text(text)
    done = ingressd("migrate", "--strict", "shop")
    assert done.code == 1
    assert "1 cannot be read" in done.out


def test_for_programs_there_is_json(ingressd: Any, nginx_shop: Path) -> None:
    annotate(nginx_shop, SNIPPET)
    told = json.loads(ingressd("migrate", "--output", "json", "shop").out)
    assert told["counts"] == {"same": 0, "differs": 0, "unsupported": 1, "unread": 0}
    (each,) = told["ingresses"]
    assert each["proposed"] == [
        {"where": "", "annotations": {"ingressd.dev/response-headers-set": "X-Frame-Options: DENY\n"}}
    ]


def test_for_a_pull_request_there_is_markdown(ingressd: Any, nginx_shop: Path) -> None:
    annotate(nginx_shop, SNIPPET)
    out = ingressd("migrate", "--output", "markdown", "shop").out
    assert out.startswith("# From ingress-nginx to ingressd\n")
    assert "```yaml\ningressd.dev/response-headers-set: |\n  X-Frame-Options: DENY\n```\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere"], "nowhere: no such file or folder"), ([], "as in `ingressd migrate manifests/`")],
)
def test_without_manifests_it_says_so_in_one_line(ingressd: Any, arguments: list[str], message: str) -> None:
    done = ingressd("migrate", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.usefixtures("nginx_shop")
def test_it_is_a_program(program: Any) -> None:
    done = program("migrate", "shop")
    assert (done.code, done.err) == (0, "")
    assert "1 work the same" in done.out
