from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.model import names

CASES: list[tuple[Callable[[str], str], list[str], list[str]]] = [
    (names.label, ["a", "a1", "1a", "a-b", "a" * 63], ["", "A", "-a", "a-", "a.b", "a_b", "a" * 64, "é", "a\n"]),
    (names.service_name, ["a", "a1", "web-2", "a" * 63], ["", "1a", "A", "a-", "a.b", "a" * 64, "a\n"]),
    (
        names.subdomain,
        ["a", "a.b", "1.a", "a-b.c", ".".join(["a" * 62] * 4)],
        ["", "A.b", "a..b", ".a", "a.", "a_b", "-a.b", "a-.b", "a" * 254, "a.b\n"],
    ),
    (
        names.host,
        ["example.com", "*.example.com", "*.com", "xn--bcher-kva.example", "localhost"],
        [
            "*",
            "*.",
            "a.*.com",
            "*a.com",
            "**.com",
            "1.2.3.4",
            "::1",
            "[::1]",
            "a:80",
            "A.com",
            "http://a",
            "a/b",
            "a.",
            " a",
        ],
    ),
    (names.port_name, ["http", "a", "1a", "a-b", "http2-x"], ["", "80", "HTTP", "a--b", "-a", "a-", "a" * 16, "a_b"]),
    (
        names.annotation_key,
        ["a", "A_b.c-d", "example.com/name", "Example.com/Name", "a" * 63],
        ["", "/a", "a/", "a/b/c", "-a", "a b", "ex_ample.com/a", "a" * 64, "example.com/" + "a" * 64],
    ),
    (
        names.controller,
        ["ingressd.dev/ingress-controller", "k8s.io/a/b", "a/b%20"],
        ["", "nginx", "/a", "a/", "A.com/b", "a b/c", "a/" + "b" * 250],
    ),
    (
        lambda text: "" if names.is_address(text) else "no",
        ["1.2.3.4", "::1", "::ffff:1.2.3.4", "fe80::1%eth"],
        ["", "1.2.3", "a", "[::1]", "1.2.3.4."],
    ),
]


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, good, _ in CASES for text in good])
def test_what_kubernetes_allows_is_allowed(rule: Callable[[str], str], text: str) -> None:
    assert rule(text) == ""


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, _, bad in CASES for text in bad])
def test_what_kubernetes_refuses_is_refused_in_words(rule: Callable[[str], str], text: str) -> None:
    assert rule(text)


def test_a_rule_names_what_is_wrong_with_a_host() -> None:
    assert names.host("1.2.3.4") == "a DNS name, not an IP address"
    assert names.host("a.com:80") == "a DNS name without a port"
    assert "first label only" in names.host("a.*.com")


@given(st.from_regex(r"[0-9a-f.:%]{0,20}", fullmatch=True))
def test_an_address_is_what_python_takes_for_one(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        assert not names.is_address(text)
    else:
        assert names.is_address(text)
