"""Lists of addresses in the question itself."""

from __future__ import annotations

import pytest

from ingressd.discovery.base import Answer, Query
from ingressd.discovery.static import StaticDiscovery, split_port
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint


async def ask(target: str) -> Answer:
    answers = [answer async for answer in StaticDiscovery(Settings()).watch(Query("static", target, 80))]
    assert len(answers) == 1
    return answers[0]


def endpoint(address: str, port: int, weight: int = 1) -> Endpoint:
    return Endpoint(address, port, weight=weight, source="static")


async def test_addresses_come_in_the_order_in_which_they_are_written() -> None:
    assert await ask("10.0.0.2, 10.0.0.1:8080;weight=3,[fd00::1]:81 ; weight = 0,[::1]") == Answer(
        (endpoint("10.0.0.2", 80), endpoint("10.0.0.1", 8080, 3), endpoint("fd00::1", 81, 0), endpoint("::1", 80))
    )


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("web", "'web' does not begin with an IP address: write ADDRESS, ADDRESS:PORT or [IPV6]:PORT"),
        ("", "'' does not begin with an IP address: write ADDRESS, ADDRESS:PORT or [IPV6]:PORT"),
        ("fd00::1", "'fd00::1': an IPv6 address stands in brackets, [fd00::1]"),
        ("10.0.0.9:0", "'10.0.0.9:0': a port is a number from 1 to 65535"),
        ("10.0.0.9:", "'10.0.0.9:': a port is a number from 1 to 65535"),
        ("[fd00::1", "'[fd00::1' is not [IPV6-ADDRESS] or [IPV6-ADDRESS]:PORT"),
        ("10.0.0.9;weight=-1", "'10.0.0.9;weight=-1': a weight is a number from 0 (no traffic) to 65535"),
        ("10.0.0.9;weight=65536", "'10.0.0.9;weight=65536': a weight is a number from 0 (no traffic) to 65535"),
        ("10.0.0.9;zone=a", "'10.0.0.9;zone=a': the only option is weight=N, not 'zone=a'"),
        ("10.0.0.1:80", "10.0.0.1:80 is there twice: remove '10.0.0.1:80'"),
    ],
)
async def test_an_item_with_a_mistake_is_named_and_the_others_are_used(item: str, said: str) -> None:
    assert await ask(f"10.0.0.1,{item},10.0.0.2") == Answer((endpoint("10.0.0.1", 80), endpoint("10.0.0.2", 80)), said)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("web", "web", None),
        ("web:80", "web", 80),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_a_port_is_split_from_its_host(text: str, host: str, port: int | None) -> None:
    assert split_port(text) == (host, port)


@pytest.mark.parametrize("text", ["web:", "web:65536", "web:http", "[::1]80", "[::1]:", "[web]:80", "web:²"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_port(text)
