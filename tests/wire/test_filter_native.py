"""Compression, mirrors, faults, maintenance, ConfigMaps of fields: with real requests through the edge."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from tests.support.backend import OK, Backend, Conversation, Peer, backend, echo
from tests.support.edge import Running
from tests.support.manifest_edge import compiled_manifests, ingress_yaml, service_yaml, serving_manifests

GET = b"GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"


def manifests(app: Backend, annotations: dict[str, str]) -> str:
    return service_yaml({"app": app.port}) + ingress_yaml(annotations)


def ours(**annotations: str) -> dict[str, str]:
    return {f"ingressd.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    return int(start.split()[1]), {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in lines}, body


def unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return whole


def repeats(response: bytes) -> Conversation:
    """A backend that says this to every request."""

    async def conversation(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(response)

    return conversation


# Compression


async def test_text_is_compressed_chunk_by_chunk_and_comes_out_as_it_was() -> None:
    text = b"all work and no play " * 500
    response = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text) + text
    async with backend(repeats(response)) as app, serving_manifests(manifests(app, ours(compression="true"))) as edge:
        status, fields, body = parts(await edge.exchange(GET))
        assert (status, fields["content-encoding"], fields["transfer-encoding"]) == (200, "gzip", "chunked")
        assert "content-length" not in fields
        assert gzip.decompress(unchunked(body)) == text
        assert len(body) < len(text) / 10
        old = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
        status, fields, body = parts(await edge.exchange(old))
        assert (fields["content-encoding"], fields["connection"]) == ("gzip", "close")
        assert gzip.decompress(body) == text
        (_, entry) = await edge.logged(2)
        assert entry.bytes_out == len(body)


async def test_a_head_request_and_a_client_without_codings_get_what_they_got() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\n\r\n"

    async def conversation(peer: Peer) -> None:
        head = await peer.head()
        await peer.send(response + (b"" if head.startswith(b"HEAD") else b"x" * 2000))

    async with (
        backend(conversation) as app,
        serving_manifests(manifests(app, ours(compression="true"))) as edge,
    ):
        _, fields, body = parts(await edge.exchange(GET.replace(b"GET", b"HEAD")))
        assert (fields["content-encoding"], body) == ("gzip", b"")
        _, fields, body = parts(await edge.exchange(GET.replace(b"Accept-Encoding: gzip\r\n", b"")))
        assert (fields["content-length"], body) == ("2000", b"x" * 2000)
        assert fields["vary"] == "Accept-Encoding"


async def test_a_piece_is_there_before_the_next_one_is_sent() -> None:
    go_on = asyncio.Event()

    async def conversation(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        )
        await go_on.wait()
        await peer.send(b"6\r\nsecond\r\n0\r\n\r\n")

    import zlib

    async with backend(conversation) as app, serving_manifests(manifests(app, ours(compression="true"))) as edge:
        reader, writer = await edge.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        decoder = zlib.decompressobj(31)
        text = b""
        while text != b"first":
            size = int(await reader.readuntil(b"\r\n"), 16)
            text += decoder.decompress((await reader.readexactly(size + 2))[:-2])
        go_on.set()
        assert decoder.decompress(unchunked(await reader.read(-1))) == b"second"


# Mirrors


async def copied(edge: Running, request: bytes, copies: Backend, count: int = 1) -> list[bytes]:
    answer = await edge.exchange(request)
    assert parts(answer)[0] == 200
    async with asyncio.timeout(20):
        async with copies.arrived:
            await copies.arrived.wait_for(lambda: len(copies.peers) >= count)
        while not all(peer.closed.is_set() or b"done" in peer.received for peer in copies.peers[:count]):
            await asyncio.sleep(0.005)
    return [bytes(peer.received) for peer in copies.peers]


async def keep(peer: Peer) -> None:
    head = await peer.head()
    if b"hunked" in head:
        await peer.until(b"0\r\n\r\n")
    await peer.send(OK)
    peer.received += b"done"
    await peer.eof()


async def test_a_copy_goes_to_the_mirror_with_its_body_and_fields() -> None:
    async with backend(echo) as app, backend(keep) as copies:
        annotations = {
            "mirror-target": f"http://127.0.0.1:{copies.port}$request_uri",
            "mirror-host": "copy.test",
        }
        async with serving_manifests(manifests(app, annotations)) as edge:
            head = b"POST /x?y=1 HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nContent-Length: 4\r\n"
            post = head + b"Connection: close\r\n\r\nbody"
            (copy,) = await copied(edge, post, copies)
            assert copy.startswith(b"POST /x?y=1 HTTP/1.1\r\n")
            assert b"Host: copy.test\r\n" in copy
            assert b"X-One: 1\r\n" in copy
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in copy
            assert b"4\r\nbody\r\n0\r\n\r\n" in copy
            assert edge.stats.filter_events == {} or "mirror_failed" not in edge.stats.filter_events


async def test_the_name_of_a_service_leads_the_copy_to_its_endpoints() -> None:
    async with backend(echo) as app, backend(keep) as copies:
        text = service_yaml({"app": app.port, "copies": copies.port})
        for name, domain in (("copies.default.svc", "cluster.local"), ("copies.default.svc.test", "test")):
            ingress = ingress_yaml({"mirror-target": f"http://{name}$request_uri"})
            async with serving_manifests(text + ingress, options={"cluster_domain": domain}) as edge:
                copy = (await copied(edge, GET, copies))[-1]
                assert copy.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
                assert f"\r\nHost: {name}\r\n".encode() in copy


async def test_a_mirror_without_an_endpoint_costs_the_request_nothing() -> None:
    empty = "apiVersion: v1\nkind: Service\nmetadata: {name: empty}\nspec: {ports: [{port: 80}]}\n---\n"
    async with backend(echo) as app:
        text = service_yaml({"app": app.port}) + empty
        text += ingress_yaml({"mirror-target": "http://empty.default.svc/"})
        async with serving_manifests(text, options={"discovery": "off"}) as edge:
            assert parts(await edge.exchange(GET))[0] == 200
            assert edge.stats.filter_events == {"mirror_failed": 1}


async def test_the_host_of_a_copy_is_that_of_its_url_whatever_follows_it() -> None:
    async with backend(echo) as app, backend(keep) as copies:
        annotations = {"mirror-target": f"http://127.0.0.1:{copies.port}$request_uri"}
        async with serving_manifests(manifests(app, annotations)) as edge:
            (copy,) = await copied(edge, GET, copies)
            assert f"\r\nHost: 127.0.0.1:{copies.port}\r\n".encode() in copy


@pytest.mark.parametrize("target", ["http://$http_x_target/", "http://copy.test:port/", "copy.test"])
def test_a_client_cannot_say_where_the_copy_goes(target: str) -> None:
    compilation = compiled_manifests(service_yaml({"app": 1}) + ingress_yaml({"mirror-target": target}))
    assert [fault.code for fault in compilation.faults] == ["annotation_invalid"]
    assert compilation.snapshot.hosts["a.test"].routes[0].filters == ()


async def test_without_a_body_the_copy_has_none() -> None:
    async with backend(echo) as app, backend(keep) as copies:
        annotations = {"mirror-target": f"http://127.0.0.1:{copies.port}/all", "mirror-request-body": "off"}
        async with serving_manifests(manifests(app, annotations)) as edge:
            post = b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
            (copy,) = await copied(edge, post, copies)
            assert copy.startswith(b"POST /all HTTP/1.1\r\n")
            assert b"body" not in copy
            assert f"Host: 127.0.0.1:{copies.port}\r\n".encode() in copy


async def test_a_mirror_that_is_down_or_silent_costs_the_request_nothing() -> None:
    async def silent(peer: Peer) -> None:
        await peer.eof()

    async with backend(echo) as app, backend(silent) as copies:
        for target in ("http://127.0.0.1:1/", f"http://127.0.0.1:{copies.port}/"):
            async with serving_manifests(manifests(app, {"mirror-target": target})) as edge:
                assert [parts(await edge.exchange(GET))[0] for _ in range(3)] == [200] * 3


async def test_no_percent_is_no_copy() -> None:
    async with backend(echo) as app, backend(keep) as copies:
        annotations = {"mirror-target": f"http://127.0.0.1:{copies.port}/", "ingressd.dev/mirror-percent": "0"}
        async with serving_manifests(manifests(app, annotations)) as edge:
            await edge.exchange(GET)
            assert edge.edge._context.services._tasks == set()
        assert not copies.peers


# Faults and maintenance


async def test_faults_are_for_those_who_ask_for_them() -> None:
    async with backend(echo) as app:
        annotations = ours(fault_abort="418", fault_delay="50ms", fault_header="X-Fault")
        async with serving_manifests(manifests(app, annotations)) as edge:
            assert parts(await edge.exchange(GET))[0] == 200
            status, fields, _ = parts(await edge.exchange(GET.replace(b"\r\n\r\n", b"\r\nX-Fault: 1\r\n\r\n")))
            assert (status, fields["x-ingressd-reason"]) == (418, "fault_injected")
            assert len(app.peers) == 1
            (_, entry) = await edge.logged(2)
            assert entry.duration_s >= 0.05


@pytest.mark.parametrize(("percent", "status"), [("0", 200), ("100", 503)])
async def test_a_share_of_the_requests_is_refused(percent: str, status: int) -> None:
    async with backend(echo) as app:
        annotations = ours(fault_abort="503", fault_abort_percent=percent)
        async with serving_manifests(manifests(app, annotations)) as edge:
            assert {parts(await edge.exchange(GET))[0] for _ in range(5)} == {status}


async def test_in_maintenance_nobody_reaches_the_application_but_those_who_may() -> None:
    async with backend(echo) as app:
        annotations = ours(maintenance="true", maintenance_message="back at nine", maintenance_retry_after="60")
        async with serving_manifests(manifests(app, annotations)) as edge:
            answer = await edge.exchange(GET)
            status, fields, _ = parts(answer)
            assert (status, fields["retry-after"], fields["x-ingressd-reason"]) == (503, "60", "maintenance")
            assert answer.endswith(b"back at nine\n")
            assert not app.peers
        allowed = {**annotations, "ingressd.dev/maintenance-allow": "127.0.0.0/8"}
        async with serving_manifests(manifests(app, allowed)) as edge:
            assert parts(await edge.exchange(GET))[0] == 200


# Fields from a ConfigMap

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: fields}
data: {X-Frame-Options: DENY, X-Team: shop}
---
"""
ALLOWED = {"allowed_response_headers": ("x-frame-options", "X-Team")}


async def test_fields_of_a_config_map_are_on_every_response() -> None:
    async with backend(echo) as app:
        text = CONFIG_MAP + manifests(app, {"custom-headers": "default/fields"})
        async with serving_manifests(text, options=ALLOWED) as edge:
            _, fields, _ = parts(await edge.exchange(GET))
            assert (fields["x-frame-options"], fields["x-team"]) == ("DENY", "shop")
    async with serving_manifests(text, options=ALLOWED) as edge:
        status, fields, _ = parts(await edge.exchange(GET))
        assert (status, fields["x-team"]) == (502, "shop")


@pytest.mark.parametrize(
    ("config_map", "options", "message"),
    [
        ("default/fields", {}, "the operator has not allowed X-"),
        ("fields", {"allowed_response_headers": ("X-Team",)}, "the operator has not allowed X-Frame-Options"),
        ("default/absent", ALLOWED, "there is no ConfigMap default/absent"),
        ("other/fields", ALLOWED, "is in another namespace than the Ingress"),
    ],
)
def test_fields_that_may_not_be_set_are_a_fault(
    config_map: str, options: dict[str, tuple[str, ...]], message: str
) -> None:
    text = CONFIG_MAP + service_yaml({"app": 80}) + ingress_yaml({"custom-headers": config_map})
    compilation = compiled_manifests(text, **options)
    (fault,) = compilation.faults
    assert fault.code == "annotation_unusable"
    assert message in fault.message
    (row,) = compilation.routes
    assert not row.route.response_filters
    assert not row.route.denied


async def test_a_response_head_that_comes_again_is_changed_as_each_route_says() -> None:
    always = b"HTTP/1.1 200 OK\r\nDate: Tue, 06 Jan 2026 09:00:00 GMT\r\nServer: app\r\nContent-Length: 2\r\n\r\nok"
    routes = {
        "bare.test": {},
        "one.test": ours(response_headers_set="X-One: 1", response_headers_remove="Server"),
        "any.test": {"enable-cors": "true"},
        "some.test": {"enable-cors": "true", "cors-allow-origin": "https://*.page.test"},
        "host.test": ours(response_headers_set="X-One: $request_method"),
    }
    async with backend(repeats(always)) as app:
        text = service_yaml({"app": app.port}) + "".join(
            ingress_yaml(annotations, name=host.partition(".")[0], host=host) for host, annotations in routes.items()
        )
        async with serving_manifests(text) as edge:
            reader, writer = await edge.connect()
            seen = []
            for page in ("a", "b", "c"):
                for host in (host for host in routes for _ in range(2)):
                    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{page}.page.test\r\n\r\n".encode())
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                    assert await reader.readexactly(2) == b"ok"
                    _, fields, _ = parts(head)
                    seen.append(
                        (host, *(fields.get(name) for name in ("server", "x-one", "access-control-allow-origin")))
                    )
            assert seen == [
                row
                for page in ("a", "b", "c")
                for twice in (
                    ("bare.test", "app", None, None),
                    ("one.test", None, "1", None),
                    ("any.test", "app", None, "*"),
                    ("some.test", "app", None, f"https://{page}.page.test"),
                    ("host.test", "app", "GET", None),
                )
                for row in (twice, twice)
            ]
