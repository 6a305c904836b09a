"""default-backend and custom-http-errors through the edge: who answers, what it is told, and what the client keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.answers import Answer
from tests.support.backend import OK, Backend, Conversation, Peer, answers, backend
from tests.support.client import Client
from tests.support.edge import Running
from tests.support.manifest_edge import ingress_yaml, service_yaml, serving_manifests

EMPTY = "{apiVersion: v1, kind: Service, metadata: {name: empty}, spec: {ports: [{port: 80}]}}\n---\n"
NOTHING = "{apiVersion: v1, kind: Endpoints, metadata: {name: empty}, subsets: []}\n---\n"
GET = b"GET /shop?x=1 HTTP/1.1\r\nHost: a.test\r\n\r\n"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nX-App: yes\r\n\r\nmissing"


async def page(peer: Peer) -> None:
    """An error backend: 418, with the head of the request as the body."""
    while True:
        head = await peer.head()
        body = b"" if head.startswith(b"HEAD ") else head
        await peer.send(b"HTTP/1.1 418 I'm a Teapot\r\nContent-Length: %d\r\n\r\n%b" % (len(head), body))


@asynccontextmanager
async def edge_with(
    app: Conversation, annotations: dict[str, str], *, errors: Conversation = page, service: str = "app"
) -> AsyncIterator[tuple[Running, Backend, Backend]]:
    """An edge whose route has these annotations, and Services `app`, `errors` and `empty`."""
    async with backend(app) as endpoint, backend(errors) as pages:
        services = service_yaml({"app": endpoint.port, "errors": pages.port}) + EMPTY + NOTHING
        async with serving_manifests(services + ingress_yaml(annotations, service=service)) as edge:
            yield edge, endpoint, pages


async def asked(edge: Running, *requests: bytes, methods: tuple[str, ...] = ("GET",)) -> list[Answer]:
    """The answers to requests that are sent at once."""
    client = await Client.connect(edge.port)
    client.send(b"".join(requests))
    try:
        return await client.answers(len(requests), methods)
    finally:
        client.close()


LISTED = {"custom-http-errors": "404,413,502,503", "default-backend": "errors"}


async def test_a_listed_status_is_replaced_and_the_error_backend_is_told_why() -> None:
    async with edge_with(answers(MISSING), LISTED) as (edge, _, _):
        request = b"GET /shop?x=1 HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n"
        (answer,) = await asked(edge, request)
        assert answer.status == 418
        assert answer.field(b"X-App") is None
        lines = answer.body.decode().split("\r\n")
        assert lines[0] == "GET / HTTP/1.1"
        assert {
            "Host: a.test",
            "X-Code: 404",
            "X-Format: text/html",
            "X-Original-URI: /shop?x=1",
            "X-Namespace: default",
            "X-Ingress-Name: web",
            "X-Service-Name: app",
            "X-Service-Port: 80",
        } < set(lines)
        (entry,) = await edge.logged()
        ids = [line for line in lines if line.lower().startswith("x-request-id")]
        assert ids == [f"X-Request-ID: {entry.request_id}"]
        assert (entry.status, entry.reason, entry.attempts) == (418, "", 1)


async def test_what_a_client_says_about_the_error_does_not_reach_the_error_backend() -> None:
    async with edge_with(answers(MISSING), LISTED) as (edge, _, _):
        request = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Code: 200\r\nx-namespace: theirs\r\nRange: bytes=0-1\r\n\r\n"
        (answer,) = await asked(edge, request)
        lines = answer.body.decode().lower().split("\r\n")
        assert "x-code: 404" in lines
        assert not {"x-code: 200", "x-namespace: theirs", "range: bytes=0-1"} & set(lines)


@pytest.mark.parametrize(
    "annotations",
    [
        {"custom-http-errors": "500", "default-backend": "errors"},
        {**LISTED, "disable-proxy-intercept-errors": "true"},
        {"default-backend": "errors"},
    ],
)
async def test_another_status_and_an_intercept_that_is_off_leave_the_answer_as_it_is(
    annotations: dict[str, str],
) -> None:
    async with edge_with(answers(MISSING), annotations) as (edge, _, pages):
        (answer,) = await asked(edge, GET)
        assert (answer.status, answer.body, answer.field(b"X-App")) == (404, b"missing", b"yes")
        assert not pages.peers


@pytest.mark.parametrize("annotations", [{"default-backend": "errors"}, LISTED])
async def test_without_an_endpoint_the_default_backend_gets_the_request(annotations: dict[str, str]) -> None:
    async with edge_with(page, annotations, service="empty") as (edge, _, _):
        (answer,) = await asked(edge, GET)
        assert answer.status == 418
        lines = answer.body.decode().split("\r\n")
        assert lines[0] == "GET /shop?x=1 HTTP/1.1"
        assert "X-Code: 503" in lines


@pytest.mark.parametrize("annotations", [LISTED, {**LISTED, "disable-proxy-intercept-errors": "true"}])
async def test_an_answer_of_the_proxy_is_replaced_when_its_status_is_listed(annotations: dict[str, str]) -> None:
    async def garbage(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"this is not HTTP\r\n\r\n")

    async with edge_with(garbage, annotations) as (edge, _, _):
        (answer,) = await asked(edge, GET)
        assert answer.status == 418
        assert b"X-Code: 502\r\n" in answer.body


async def test_head_stays_head() -> None:
    missing = MISSING.removesuffix(b"missing")
    async with edge_with(answers(missing), LISTED) as (edge, _, pages):
        (answer,) = await asked(edge, b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n", methods=("HEAD",))
        assert (answer.status, answer.body) == (418, b"")
        assert pages.peers[0].received.startswith(b"HEAD / HTTP/1.1\r\n")


async def test_a_connection_goes_on_after_a_detour_pipelined_requests_included() -> None:
    app = answers(MISSING, OK, MISSING, OK)
    async with edge_with(app, LISTED) as (edge, _, pages):
        got = await asked(edge, GET, GET, GET, GET)
        assert [answer.status for answer in got] == [418, 200, 418, 200]
        assert len(pages.peers) == 1


async def test_a_body_goes_to_the_endpoint_and_not_to_the_error_backend() -> None:
    async def reads(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.read(5)
            await peer.send(MISSING)

    post = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    async with edge_with(reads, LISTED) as (edge, app, _):
        got = await asked(edge, post, post, methods=("POST",))
        assert [answer.status for answer in got] == [418, 418]
        lines = got[0].body.decode().lower().split("\r\n")
        assert lines[0] == "get / http/1.1"
        assert not [line for line in lines if line.startswith("content-")]
        assert app.peers[0].received.endswith(b"hello")
        assert [entry.bytes_in for entry in await edge.logged(2)] == [5, 5]


async def test_the_rest_of_a_body_that_was_not_read_is_skipped_before_the_next_request() -> None:
    async def early(peer: Peer) -> None:
        await peer.head()
        await peer.send(MISSING)
        await peer.eof()

    async with edge_with(early, LISTED) as (edge, _, _):
        client = await Client.connect(edge.port)
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf.")
        (answer,) = await client.answers(1, ["POST"])
        assert (answer.status, answer.field(b"Connection")) == (418, None)
        client.send(b"half." + GET)
        got = await client.answers(2, ["POST", "GET"])
        assert [each.status for each in got] == [418, 418]
        client.close()


async def test_a_client_that_waits_for_100_gets_the_page_and_no_second_request() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    annotations = {**LISTED, "proxy-body-size": "1"}
    async with edge_with(page, annotations) as (edge, app, _):
        (answer,) = await asked(edge, request, methods=("POST",))
        assert (answer.status, answer.field(b"Connection")) == (418, b"close")
        assert b"X-Code: 413\r\n" in answer.body
        assert not app.peers


async def test_a_body_that_grows_too_large_is_answered_by_the_error_backend() -> None:
    async def waits(peer: Peer) -> None:
        await peer.head()
        await peer.eof()

    annotations = {**LISTED, "proxy-body-size": "1k"}
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    async with edge_with(waits, annotations) as (edge, app, _):
        client = await Client.connect(edge.port)
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
        peer = await app.peer(0)
        client.send(chunk + chunk + chunk)
        (answer,) = await client.answers(1, ["POST"])
        assert (answer.status, answer.field(b"Connection")) == (418, b"close")
        assert b"X-Code: 413\r\n" in answer.body
        await peer.closed.wait()
        client.close()


async def test_the_first_answer_is_dropped_with_its_connection_when_it_is_long() -> None:
    async def long(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\nbegin")
        await peer.eof()

    async with edge_with(long, LISTED) as (edge, app, _):
        (answer,) = await asked(edge, GET)
        assert answer.status == 418
        peer = await app.peer(0)
        await peer.closed.wait()


@pytest.mark.parametrize(
    ("service", "status", "reason"), [("app", 404, "custom_error"), ("empty", 503, "no_endpoints")]
)
async def test_when_the_error_backend_fails_the_client_gets_the_first_status(
    service: str, status: int, reason: str
) -> None:
    async def broken(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with edge_with(answers(MISSING), LISTED, errors=broken, service=service) as (edge, _, _):
        (answer,) = await asked(edge, GET)
        assert (answer.status, answer.field(b"x-ingressd-reason")) == (status, reason.encode())
        (entry,) = await edge.logged()
        assert (entry.status, entry.reason) == (status, reason)


async def test_an_error_of_the_error_backend_is_the_answer_without_a_second_detour() -> None:
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"
    async with edge_with(answers(MISSING), LISTED, errors=answers(gone)) as (edge, _, pages):
        (answer,) = await asked(edge, GET)
        assert (answer.status, answer.body) == (404, b"gone")
        assert len(pages.peers) == 1


async def test_without_any_default_backend_the_page_is_our_own() -> None:
    async with edge_with(answers(MISSING), {"custom-http-errors": "404"}) as (edge, _, _):
        (answer,) = await asked(edge, GET)
        assert (answer.status, answer.field(b"x-ingressd-reason")) == (404, b"custom_error")
        assert b"missing" not in answer.body


async def test_the_operators_default_backend_takes_listed_errors() -> None:
    async with backend(answers(MISSING)) as app, backend(page) as pages:
        manifests = service_yaml({"app": app.port, "errors": pages.port})
        manifests += ingress_yaml({"custom-http-errors": "404"})
        async with serving_manifests(manifests, options={"default_backend": "default/errors:80"}) as edge:
            (answer,) = await asked(edge, GET)
            assert answer.status == 418


async def test_a_dial_that_ends_after_the_detour_began_is_nobodys() -> None:
    async def waits(peer: Peer) -> None:
        await peer.head()
        await peer.eof()

    annotations = {**LISTED, "proxy-body-size": "1k"}
    chunk = b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n"
    async with edge_with(waits, annotations) as (edge, app, pages):
        request = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
        (answer,) = await asked(edge, request, methods=("POST",))
        assert answer.status == 418
        assert all(not peer.received for peer in app.peers)
        assert len(pages.peers) == 1
