"""Redirects and rewritten targets with real requests: what comes before what, and what endpoints get."""

from __future__ import annotations

import pytest

from tests.support.backend import Peer, backend, echo
from tests.support.manifest_edge import ingress_yaml, service_yaml, serving_manifests


def get(path: str = "/", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{more}\r\n".encode()


def location(answer: bytes) -> tuple[int, str]:
    head = answer.decode("latin-1").partition("\r\n\r\n")[0]
    found = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Location: ")]
    return int(head.split(" ", 2)[1]), "".join(found)


@pytest.mark.parametrize(
    ("annotations", "answer"),
    [
        ({"permanent-redirect": "https://b.test"}, (301, "https://b.test")),
        ({"temporal-redirect": "/y", "relative-redirects": "true"}, (302, "/y")),
        ({"app-root": "/y"}, (302, "http://a.test/y")),
        ({"rewrite-target": "https://b.test"}, (302, "https://b.test")),
        ({}, (308, "https://a.test/")),
    ],
)
async def test_redirects_come_before_the_one_to_https_and_before_lists_of_addresses(
    annotations: dict[str, str], answer: tuple[int, str]
) -> None:
    guarded = {"force-ssl-redirect": "true", "whitelist-source-range": "192.0.2.1"}
    manifests = service_yaml({"app": 1}) + ingress_yaml({**annotations, **guarded})
    async with serving_manifests(manifests) as edge:
        assert location(await edge.exchange(get())) == answer


async def test_https_that_ended_at_a_trusted_proxy_is_not_redirected() -> None:
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"force-ssl-redirect": "true"})
        async with serving_manifests(manifests, trusted_proxies=("127.0.0.1/32",)) as edge:
            proto = "X-Forwarded-Proto: https\r\n"
            assert (await edge.exchange(get("/x/", proto))).startswith(b"HTTP/1.1 200 ")
            assert location(await edge.exchange(get("/x/"))) == (308, "https://a.test/x")
        async with serving_manifests(manifests) as edge:
            assert location(await edge.exchange(get("/x/", proto))) == (308, "https://a.test/x")


async def test_the_operator_chooses_the_status_of_redirects_to_https_and_to_the_host_with_rules() -> None:
    annotations = {"force-ssl-redirect": "true", "from-to-www-redirect": "true"}
    manifests = service_yaml({"app": 1}) + ingress_yaml(annotations)
    async with serving_manifests(manifests, options={"redirect_status": 301}) as edge:
        assert location(await edge.exchange(get("/x"))) == (301, "https://a.test/x")
        www = get("/x").replace(b"a.test", b"www.a.test")
        assert location(await edge.exchange(www)) == (301, "http://a.test/x")


async def test_a_rewritten_request_keeps_its_body_and_its_fields() -> None:
    async def whole(peer: Peer) -> None:
        head = await peer.head()
        body = await peer.until(b"0\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head + body)
        peer.writer.close()

    async with backend(whole) as app:
        annotations = {"rewrite-target": "/new/$1", "x-forwarded-prefix": "/$1"}
        manifests = service_yaml({"app": app.port}) + ingress_yaml(annotations, path="/old/(.*)/")
        async with serving_manifests(manifests) as edge:
            answer = await edge.exchange(
                b"POST /old/a%20b/c HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Own: 1\r\n"
                b"X-Forwarded-Prefix: /forged\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )
    assert b"POST /new/a%20b HTTP/1.1\r\n" in answer
    assert b"\r\nX-Own: 1\r\n" in answer
    assert answer.lower().count(b"x-forwarded-prefix") == 1
    assert b"\r\nX-Forwarded-Prefix: /a b\r\n" in answer
    assert b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n" in answer


async def test_an_expression_that_is_not_understood_answers_503_and_the_rest_of_the_host_goes_on() -> None:
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port})
        manifests += ingress_yaml({"use-regex": "true"}, path="/slow/(a+)+b") + ingress_yaml({}, name="rest")
        async with serving_manifests(manifests, faulty=True) as edge:
            closed = await edge.exchange(get("/slow/" + "a" * 10_000))
            assert closed.startswith(b"HTTP/1.1 503 ")
            assert b"x-ingressd-reason: policy_invalid" in closed
            assert (await edge.exchange(get("/fast"))).startswith(b"HTTP/1.1 200 ")
