from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ingressd.cli.setting_types import TYPES
from ingressd.settings import OFF, Settings


def read(name: str, value: object) -> Any:
    return TypeAdapter(TYPES[name]).validate_python(value)


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("http_port", "8080", 8080),
        ("http_port", 0, 0),
        ("http_port", "off", OFF),
        ("http_port", "OFF", OFF),
        ("workers", "auto", 0),
        ("workers", "3", 3),
        ("bind", "::", "::"),
        ("bind", "[::1]", "::1"),
        ("drain_timeout_s", "2.5", 2.5),
        ("default_backend", "", ""),
        ("default_backend", "shop/web:http", "shop/web:http"),
        ("trusted_proxies", "10.0.0.0/8, fd00::/8", ("10.0.0.0/8", "fd00::/8")),
        ("trusted_proxies", ["10.0.0.0/8", "192.0.2.1"], ("10.0.0.0/8", "192.0.2.1/32")),
        ("trusted_proxies", "", ()),
        ("proxy_protocol", "on", "on"),
        ("dns_servers", "192.0.2.53,[::1]:5353", ("192.0.2.53:53", "[::1]:5353")),
        ("dns_servers", ["127.0.0.1:5300"], ("127.0.0.1:5300",)),
        ("dns_port", "53", 53),
        ("dns_upstream", "192.0.2.53,[::1]:5353", ("192.0.2.53:53", "[::1]:5353")),
        ("cluster_domain", "Cluster.Local.", "cluster.local"),
        ("cluster_domain", "x", "x"),
        ("zone", "eu-central-1a", "eu-central-1a"),
        ("zone", "", ""),
        ("certificates", "a.crt:a.key,b.crt:b.key", (("a.crt", "a.key"), ("b.crt", "b.key"))),
        ("default_certificate", "a.crt:a.key", ("a.crt", "a.key")),
        ("paths", "one:two", ("one", "two")),
        ("nginx_class", "false", False),
        ("https_redirect_port", "443", 443),
        ("redirect_status", "301", 301),
        ("redirect_status", 307, 307),
    ],
)
def test_a_value_is_read(name: str, written: object, value: object) -> None:
    assert read(name, written) == value


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("http_port", "65536", "from 0 (any free one) to 65535, or off"),
        ("http_port", "-1", "or off"),
        ("http_port", "٣", "or off"),
        ("workers", "0", "1 to 1024, or auto"),
        ("bind", "localhost", "is an IP address"),
        ("trusted_proxies", "10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("dns_servers", "resolver.example", "ADDRESS:PORT of a name server"),
        ("dns_servers", "192.0.2.53:0", "ADDRESS:PORT of a name server"),
        ("cluster_domain", "", "is not a DNS name"),
        ("cluster_domain", "cluster..local", "is not a DNS name"),
        ("cluster_domain", "-.local", "is not a DNS name"),
        ("cluster_domain", ".".join(["a" * 28] * 3), "is not a DNS name"),
        ("zone", "zone a", "is not the name of a zone"),
        ("default_certificate", "only.crt", "CERTIFICATE-FILE:KEY-FILE"),
        ("default_backend", "web:80", "NAMESPACE/SERVICE:PORT"),
        ("drain_timeout_s", "-1", "greater than or equal to 0"),
        ("drain_timeout_s", "inf", "finite"),
        ("scheduler", "fastest", "'fastest' is not known; choose"),
        ("proxy_mode", "userspace", "'userspace' is not known; choose nftables, iptables or ipvs"),
        ("proxy_protocol", "v2", "'v2' is not known; choose off or on"),
        ("log_level", "loud", "choose debug, info, warning or error"),
        ("redirect_status", "300", "the status of a redirect is 301, 302, 303, 307 or 308"),
        ("redirect_status", "permanent", "the status of a redirect is 301, 302, 303, 307 or 308"),
    ],
)
def test_a_wrong_value_is_refused_in_words(name: str, written: object, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(name, written)
    assert words in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("name", ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "random", "p2c", "ewma", "maglev"])
def test_every_scheduler_can_be_the_default(name: str) -> None:
    assert Settings(scheduler=read("scheduler", name), proxy_mode="iptables").default_scheduler == name


@pytest.mark.parametrize(("mode", "scheduler"), [("nftables", "random"), ("iptables", "random"), ("ipvs", "rr")])
def test_a_mode_of_kube_proxy_has_a_scheduler(mode: str, scheduler: str) -> None:
    assert Settings(proxy_mode=read("proxy_mode", mode)).default_scheduler == scheduler


def test_the_default_is_in_turn() -> None:
    assert Settings().default_scheduler == "rr"


def test_every_default_is_a_valid_value() -> None:
    default = Settings()
    written = {name: getattr(default, name) for name in TYPES}
    written |= {name: "off" for name, value in written.items() if name.endswith("_port") and value == OFF}
    written |= {"workers": "auto", "default_certificate": "a:b", "admin_certificate": "a:b", "admin_token": "x" * 16}
    for name, value in written.items():
        read(name, value)
