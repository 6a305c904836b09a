from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
import yaml
from aiohttp import ClientSession
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from examples.apps import echo, errors, gatekeeper, live, names
from examples.apps.cast import CAST, PARTNER_NAME, PARTNER_PORT, TRY
from examples.apps.own_certificate import own_certificate

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "examples"


def services() -> dict[str, dict[str, object]]:
    documents = [doc for path in EXAMPLES.glob("*/*.yaml") for doc in yaml.safe_load_all(path.read_text())]
    return {doc["metadata"]["name"]: doc["spec"] for doc in documents if doc["kind"] == "Service"}


def test_every_service_of_the_stories_has_an_app() -> None:
    # The plumber of the discovery plug-in is wherever its phone book says.
    assert {part.service for part in CAST} | {"partner", "plumber"} == set(services())
    assert services()["partner"]["externalName"] == PARTNER_NAME
    assert services()["partner"]["ports"] == [{"port": PARTNER_PORT}]


def test_docker_compose_has_a_service_for_every_app() -> None:
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    assert {part.service for part in CAST} | {"partner"} <= set(compose)
    assert PARTNER_NAME in compose["partner"]["networks"]["default"]["aliases"]


def test_what_the_demo_proposes_to_type_is_in_the_readme_of_a_story() -> None:
    stories = "".join(path.read_text() for path in EXAMPLES.glob("*/README.md"))
    assert [command for command in TRY if f"\n$ {command}\n" not in stories] == []


async def test_the_echo_app_shows_what_it_received(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(echo.make_app("shop"))
    response = await client.post("/a/../b?c=d", data=b"12345", headers={"X-One": "1"})
    answer = await response.json()
    assert answer["app"] == "shop"
    assert answer["instance"] == f"{client.host}:{client.port}"
    assert answer["method"] == "POST"
    assert answer["path"] == "/b?c=d"
    assert answer["headers"]["X-One"] == "1"
    assert answer["body_bytes"] == 5


@pytest.mark.parametrize(("query", "status"), [("status=404", 404), ("status=418", 418), ("status=99", 200), ("", 200)])
async def test_the_echo_app_answers_with_the_status_that_is_wished_for(
    aiohttp_client: AiohttpClient, query: str, status: int
) -> None:
    client = await aiohttp_client(echo.make_app("shop"))
    assert (await client.get(f"/?{query}")).status == status


async def test_an_app_can_speak_https_with_a_certificate_of_its_own(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(echo.make_app("vault"), ssl=own_certificate("vault"))
    async with ClientSession() as session, session.get(server.make_url("/"), ssl=False) as response:
        assert (await response.json())["scheme"] == "https"


async def test_the_gatekeeper_knows_who_has_its_cookie_and_leads_back_to_its_own_host(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(gatekeeper.make_app("gatekeeper"))
    assert (await client.get("/oauth2/auth")).status == 401
    assert 'value="/a?b=&quot;"' in await (await client.get("/oauth2/start?rd=/a?b=%22")).text()
    for wanted, location in (("/a?b=c", "/a?b=c"), ("//evil.test/a", "/a"), ("https://evil.test", "/")):
        parameters = {"user": "alice", "rd": wanted}
        response = await client.get("/oauth2/callback", params=parameters, allow_redirects=False)
        assert (response.status, response.headers["Location"]) == (302, location)
    answer = await client.get("/oauth2/auth")
    assert (answer.status, answer.headers[gatekeeper.USER]) == (202, "alice")
    assert (await client.get("/oauth2/callback?user=%0d%0a")).status == 400


@pytest.mark.parametrize(("code", "status"), [("503", 503), ("404", 404), ("nonsense", 404), ("999", 404)])
async def test_the_error_pages_have_the_status_that_the_proxy_names(
    aiohttp_client: AiohttpClient, code: str, status: int
) -> None:
    client = await aiohttp_client(errors.make_app("error-pages"))
    response = await client.get("/", headers={"X-Code": code, "X-Original-URI": "/lost"})
    assert response.status == status
    assert (await response.text()).endswith("for /lost\n")


async def test_the_live_app_echoes_ticks_and_has_a_page(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(live.make_app("live"))
    async with client.ws_connect("/ws") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"
    response = await client.get("/events?count=2&interval=0")
    assert response.content_type == "text/event-stream"
    assert await response.text() == 'data: {"tick": 1}\n\ndata: {"tick": 2}\n\n'
    assert (await client.get("/events?count=many")).status == 400
    assert "WebSocket" in await (await client.get("/")).text()


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        (PARTNER_NAME, "A", dns.rcode.NOERROR, ["127.0.0.9"]),
        (PARTNER_NAME.upper(), "A", dns.rcode.NOERROR, ["127.0.0.9"]),
        (PARTNER_NAME, "AAAA", dns.rcode.NOERROR, []),
        ("example.com", "A", dns.rcode.REFUSED, []),
    ],
)
async def test_the_name_server_knows_one_name(name: str, kind: str, code: dns.rcode.Rcode, answers: list[str]) -> None:
    transport, port = await names.answer_for(PARTNER_NAME, "127.0.0.9")
    try:
        query = dns.message.make_query(name, kind)
        response = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=10)
    finally:
        transport.close()
    assert response.rcode() == code
    assert [item.to_text() for rrset in response.answer for item in rrset] == answers


async def test_all_apps_start_on_free_ports_and_say_where_they_are(tmp_path: Path) -> None:
    endpoints = tmp_path / "endpoints.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.apps",
        "--endpoints",
        str(endpoints),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    assert process.stdout is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    assert re.fullmatch(r"127\.0\.0\.1:\d+", ready["name_server"])
    slices = json.loads(endpoints.read_text())["items"]
    copies = [item["metadata"]["labels"]["kubernetes.io/service-name"] for item in slices]
    assert {name: copies.count(name) for name in copies} == {part.service: part.copies for part in CAST}
    for item in slices:
        reader, writer = await asyncio.open_connection("127.0.0.1", item["ports"][0]["port"])
        writer.close()
        await writer.wait_closed()
        del reader
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 30) == 0
