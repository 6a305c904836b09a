"""CORS through the edge: preflights are answered here, every answer of an allowed origin has the fields."""

from __future__ import annotations

from tests.support.backend import backend, echo
from tests.support.edge import Running
from tests.support.manifest_edge import ingress_yaml, service_yaml, serving_manifests


async def fetched(edge: Running, method: str, origin: str, *, path: str = "/") -> tuple[int, list[str]]:
    """The status and the field lines, but the date."""
    request = f"{method} {path} HTTP/1.1\r\nHost: a.test\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
    head = (await edge.exchange(request.encode())).split(b"\r\n\r\n")[0].decode()
    status, *lines = head.split("\r\n")
    return int(status.split()[1]), lines


ALLOWED = {
    "enable-cors": "true",
    "cors-allow-origin": "https://*.page.test",
    "cors-allow-methods": "GET",
    "cors-allow-headers": "X-One",
    "cors-max-age": "5",
}
FIELDS = [
    "Access-Control-Allow-Origin: https://one.page.test",
    "Access-Control-Allow-Credentials: true",
    "Access-Control-Allow-Methods: GET",
    "Access-Control-Allow-Headers: X-One",
    "Access-Control-Max-Age: 5",
]


async def test_a_preflight_never_reaches_the_endpoint_and_has_no_length() -> None:
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml(ALLOWED)
        async with serving_manifests(manifests) as edge:
            status, lines = await fetched(edge, "OPTIONS", "https://one.page.test")
            assert status == 204
            assert set(FIELDS) < set(lines)
            assert "x-ingressd-reason: cors_preflight" in lines
            assert not [line for line in lines if line.lower().startswith(("content-length", "transfer-encoding"))]
            status, lines = await fetched(edge, "OPTIONS", "https://other.test")
            assert status == 204
            assert not [line for line in lines if line.startswith("Access-Control")]
        assert not app.peers


async def test_answers_of_the_endpoint_and_of_the_proxy_have_the_fields() -> None:
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml(ALLOWED)
        async with serving_manifests(manifests) as edge:
            status, lines = await fetched(edge, "GET", "https://one.page.test")
            assert status == 200
            assert set(FIELDS) < set(lines)
            assert "Vary: Origin" in lines
    async with serving_manifests(manifests) as edge:
        status, lines = await fetched(edge, "GET", "https://one.page.test")
        assert status == 502
        assert set(FIELDS) < set(lines)


async def test_without_the_annotation_the_endpoint_speaks_for_itself() -> None:
    async with backend(echo) as app:
        manifests = service_yaml({"app": app.port}) + ingress_yaml({"cors-allow-origin": "https://page.test"})
        async with serving_manifests(manifests) as edge:
            status, lines = await fetched(edge, "OPTIONS", "https://page.test")
            assert status == 200
            assert not [line for line in lines if line.startswith("Access-Control")]


async def test_an_origin_that_is_misspelled_lets_nobody_in_rather_than_everybody() -> None:
    async with backend(echo) as app:
        wrong = {**ALLOWED, "cors-allow-origin": "https://page.test, other.test", "cors-allow-credentials": "no"}
        async with serving_manifests(service_yaml({"app": app.port}) + ingress_yaml(wrong), faulty=True) as edge:
            _, lines = await fetched(edge, "GET", "https://any.test")
            assert not [line for line in lines if line.startswith("Access-Control")]
            _, lines = await fetched(edge, "GET", "https://page.test")
            assert "Access-Control-Allow-Origin: https://page.test" in lines
            assert "Access-Control-Allow-Credentials: true" not in lines
