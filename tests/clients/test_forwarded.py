"""Who is asking, behind proxies that are trusted, and without the Forwarded field."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.support.app import app
from tests.support.program import PATIENCE_S, Program, running
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("clients-forwarded")

Fields = dict[str, str]


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program that takes loopback and 10.0.0.0/8 for proxies of its own."""
    folder = tmp_path_factory.mktemp("trusting")
    site = Site(folder / "site")
    options = ("--trusted-proxies=127.0.0.0/8,10.0.0.0/8", f"--access-log={folder}/access.log")
    with app() as behind:
        site.route("a.localhost", behind)
        with running(folder / "log", str(site.folder), *options) as program:
            yield program


def seen(program: Program, **claims: str) -> Fields:
    """What the backend learns when a proxy says this."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port("http"), timeout=PATIENCE_S)
    headers = {name.replace("_", "-"): value for name, value in claims.items()}
    connection.request("GET", "/seen", headers={"Host": "a.localhost", **headers})
    fields = json.loads(connection.getresponse().read())["fields"]
    connection.close()
    return {name.lower(): value for name, value in fields}


def test_a_trusted_proxy_is_believed(trusting: Program) -> None:
    fields = seen(
        trusting,
        X_Forwarded_For="192.0.2.7",
        X_Forwarded_Proto="https",
        X_Forwarded_Host="shop.example",
        X_Forwarded_Port="8443",
        X_Request_ID="abc-1",
    )
    assert fields["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
    assert fields["x-real-ip"] == "192.0.2.7"
    assert (fields["x-forwarded-proto"], fields["x-forwarded-host"], fields["x-forwarded-port"]) == (
        "https",
        "shop.example",
        "8443",
    )
    assert fields["x-request-id"] == "abc-1"
    assert fields["forwarded"] == (
        "for=192.0.2.7;host=shop.example;proto=https, for=127.0.0.1;host=a.localhost;proto=http"
    )


def test_the_client_is_the_first_that_is_no_proxy_of_ours(trusting: Program) -> None:
    fields = seen(trusting, X_Forwarded_For="203.0.113.9, 192.0.2.7, 10.1.2.3")
    assert fields["x-real-ip"] == "192.0.2.7"
    assert fields["x-forwarded-for"] == "203.0.113.9, 192.0.2.7, 10.1.2.3, 127.0.0.1"


def test_a_forwarded_field_is_understood(trusting: Program) -> None:
    fields = seen(trusting, Forwarded='for="[2001:db8::1]:4711";proto=https;host=shop.example')
    assert fields["x-real-ip"] == "2001:db8::1"
    assert (fields["x-forwarded-proto"], fields["x-forwarded-host"]) == ("https", "shop.example")
    assert fields["forwarded"].startswith('for="[2001:db8::1]:4711";proto=https;host=shop.example, for=127.0.0.1;')


def test_a_proxy_that_says_nothing_is_the_client(trusting: Program) -> None:
    fields = seen(trusting)
    assert (fields["x-real-ip"], fields["x-forwarded-for"]) == ("127.0.0.1", "127.0.0.1")


def test_without_the_forwarded_field_the_others_are_sent(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("without")
    site = Site(folder / "site")
    with app() as behind:
        site.route("a.localhost", behind)
        with running(folder / "log", str(site.folder), "--no-forwarded-header", "--access-log=off") as program:
            fields = seen(program, Forwarded="for=192.0.2.7")
            assert "forwarded" not in fields
            assert fields["x-forwarded-for"] == "127.0.0.1"
