"""Guards of routes, with real requests: IP lists, passwords, a service that is asked, and any of them."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.support.answers import Answer, field_values, read_answers
from tests.support.auth_service import AuthService, auth_service, says
from tests.support.backend import Backend, backend, echo
from tests.support.certificates import issue
from tests.support.edge import Running
from tests.support.manifest_edge import compiled_manifests, ingress_yaml, service_yaml, serving_manifests
from tests.unit.filters.tokens import JWKS, token

USERS = """
apiVersion: v1
kind: Secret
metadata: {name: users}
stringData:
  auth: |
    joe:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
---
"""
JOE = {"Authorization": f"Basic {base64.b64encode(b'joe:secret').decode()}"}
WRONG = {"Authorization": f"Basic {base64.b64encode(b'joe:wrong').decode()}"}


@pytest.fixture
async def app() -> AsyncIterator[Backend]:
    async with backend(echo) as it:
        yield it


@pytest.fixture
async def auth() -> AsyncIterator[AuthService]:
    async with auth_service() as it:
        yield it


async def get(
    edge: Running, target: str = "/", headers: Mapping[str, str] | None = None, method: str = "GET"
) -> Answer:
    """The answer; the echo's body is the head that the endpoint got."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    request = f"{method} {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{lines}\r\n"
    data = await edge.exchange(request.encode("latin-1"))
    (answer,), _ = read_answers(data, (method,), closed=True)
    return answer


def field(answer: Answer, name: str) -> str | None:
    """The value of its only field with the name."""
    value = answer.field(name.encode())
    return None if value is None else value.decode()


def manifests(app: Backend, annotations: Mapping[str, str], more: str = "", **services: int) -> str:
    return service_yaml({"app": app.port, **services}) + more + ingress_yaml(annotations)


# IP lists.


@pytest.mark.parametrize(
    ("annotations", "status"),
    [
        ({"allowlist-source-range": "127.0.0.0/8"}, 200),
        ({"whitelist-source-range": "10.0.0.0/8"}, 403),
        ({"denylist-source-range": "127.0.0.1"}, 403),
        ({"denylist-source-range": "10.0.0.0/8"}, 200),
    ],
)
async def test_addresses_are_let_in_or_not(app: Backend, annotations: dict[str, str], status: int) -> None:
    async with serving_manifests(manifests(app, annotations)) as edge:
        answer = await get(edge, headers={"X-Forwarded-For": "10.0.0.1"})
        assert answer.status == status
        if status == 403:
            assert (await edge.logged())[0].reason == "denied_ip"


async def test_the_address_is_the_clients_behind_a_proxy_that_is_trusted(app: Backend) -> None:
    text = manifests(app, {"allowlist-source-range": "10.0.0.0/8"})
    async with serving_manifests(text, trusted_proxies=("127.0.0.0/8",)) as edge:
        assert (await get(edge, headers={"X-Forwarded-For": "10.1.1.1"})).status == 200
        assert (await get(edge, headers={"X-Forwarded-For": "192.0.2.1"})).status == 403


@pytest.mark.parametrize(
    "annotations",
    [
        {"allowlist-source-range": "10.0.0.0/33"},
        {"auth-type": "basic", "auth-secret": "gone"},
        {"auth-type": "digest", "auth-secret": "users"},
        {"auth-url": "ftp://auth.test/"},
        {"satisfy": "some", "allowlist-source-range": "127.0.0.0/8"},
        {"ingressd.dev/jwt-issuer": "https://issuer.test"},
    ],
)
async def test_a_guard_that_cannot_be_understood_closes_the_route(app: Backend, annotations: dict[str, str]) -> None:
    async with serving_manifests(manifests(app, annotations, USERS), faulty=True) as edge:
        answer = await get(edge, headers=JOE)
        assert (answer.status, field(answer, "x-ingressd-reason")) == (503, "policy_invalid")


# Passwords.


async def test_a_password_is_asked_for_and_never_reaches_the_endpoint(app: Backend) -> None:
    async with serving_manifests(manifests(app, {"auth-type": "basic", "auth-secret": "users"}, USERS)) as edge:
        for headers in ({}, WRONG, {"Authorization": "Basic ???"}):
            answer = await get(edge, headers=headers)
            assert (answer.status, field(answer, "x-ingressd-reason")) == (401, "auth_failed")
            assert field(answer, "www-authenticate") == 'Basic realm="Authentication Required", charset="UTF-8"'
        answer = await get(edge, headers=JOE)
        assert answer.status == 200
        assert b"authorization" not in answer.body.lower()


DIGEST_USERS = """
apiVersion: v1
kind: Secret
metadata: {name: digests}
stringData:
  auth: |
    joe:Shop:0153000f37e13a23c01bcbc5b76aa9a7
---
"""


async def test_a_proof_of_a_password_is_asked_for_as_curl_knows_it(app: Backend) -> None:
    annotations = {"auth-type": "digest", "auth-secret": "digests", "auth-realm": "Shop"}
    async with serving_manifests(manifests(app, annotations, DIGEST_USERS)) as edge:
        refused = await get(edge, headers=JOE)
        assert (refused.status, field(refused, "x-ingressd-reason")) == (401, "auth_failed")
        assert str(field(refused, "www-authenticate")).startswith(
            'Digest realm="Shop", qop="auth", algorithm=MD5, nonce='
        )
        for password, status in (("secret", b"200"), ("wrong", b"401")):
            curl = await asyncio.create_subprocess_exec(
                *("curl", "--silent", "--write-out", "%{http_code}", "--header", "Host: a.test"),
                *("--digest", "--user", f"joe:{password}", f"http://127.0.0.1:{edge.port}/x?y=1"),
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await curl.communicate()
            assert said[-3:] == status
            assert b"authorization" not in said.lower()
        assert [entry.user for entry in await edge.logged(5)] == ["", "", "joe", "", ""]


# A service that is asked.


async def test_the_service_is_asked_as_ingress_nginx_asks_it(app: Backend, auth: AuthService) -> None:
    annotations = {"auth-url": f"http://127.0.0.1:{auth.port}/check/../x//y?u=$escaped_request_uri"}
    async with serving_manifests(manifests(app, annotations)) as edge:
        sent = {"Cookie": "a=1", "X-Custom": "caf\xe9", "If-None-Match": '"x"', "Content-Type": "text/x", **JOE}
        answer = await get(edge, "/cart?id=1", {**sent, "Content-Length": "0"}, "POST")
    assert answer.status == 200
    (head,) = auth.asked
    assert head.startswith(b"GET /check/../x//y?u=%2Fcart%3Fid%3D1 HTTP/1.1\r\n")
    assert auth.field("host") == f"127.0.0.1:{auth.port}"
    assert auth.field("x-original-url") == "http://a.test/cart?id=1"
    assert auth.field("x-original-method") == "POST"
    assert auth.field("x-sent-from") == "nginx-ingress-controller"
    assert auth.field("x-auth-request-redirect") == "/cart?id=1"
    assert auth.field("x-real-ip") == auth.field("x-forwarded-for") == "127.0.0.1"
    assert len(auth.field("x-request-id") or "") == 32
    assert auth.field("cookie") == "a=1"
    assert auth.field("content-type") == "text/x"
    assert auth.field("authorization") == JOE["Authorization"]
    for name in ("content-length", "transfer-encoding", "if-none-match", "user-agent", "accept", "accept-encoding"):
        assert auth.field(name) is None, name
    assert f"X-Request-ID: {auth.field('x-request-id')}".encode() in answer.body


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        (says(200), 200, None),
        (says(204), 200, None),
        (says(202, body=b"x" * 100_000), 200, None),
        (says(401, 'WWW-Authenticate: Bearer realm="x"', body=b"its own page"), 401, "auth_failed"),
        (says(403, body=b"its own page"), 403, "auth_failed"),
        (says(302, "Location: /elsewhere"), 500, "auth_unavailable"),
        (says(404), 500, "auth_unavailable"),
        (says(500), 500, "auth_unavailable"),
        (b"nonsense\r\n\r\n", 500, "auth_unavailable"),
    ],
)
async def test_what_the_service_says_decides(
    app: Backend, auth: AuthService, said: bytes, status: int, reason: str | None
) -> None:
    auth.answer = said
    async with serving_manifests(manifests(app, {"auth-url": f"http://127.0.0.1:{auth.port}/"})) as edge:
        answer = await get(edge)
    assert (answer.status, field(answer, "x-ingressd-reason")) == (status, reason)
    assert b"its own page" not in answer.body
    assert field(answer, "www-authenticate") == ('Bearer realm="x"' if status == 401 else None)
    assert bool(app.peers) is (status == 200)


async def test_a_service_that_is_not_there_closes_the_route(app: Backend) -> None:
    async with backend(echo) as gone:
        port = gone.port
    async with serving_manifests(manifests(app, {"auth-url": f"http://127.0.0.1:{port}/"})) as edge:
        answer = await get(edge)
    assert (answer.status, field(answer, "x-ingressd-reason")) == (500, "auth_unavailable")
    assert not app.peers


@pytest.mark.parametrize("address", ["169.254.169.254", "[::ffff:169.254.169.254]", "100.100.100.200", "0.0.0.0"])
async def test_a_metadata_service_is_not_asked(app: Backend, address: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_manifests(manifests(app, {"auth-url": f"http://{address}/"})) as edge:
        answer = await get(edge)
    assert (answer.status, field(answer, "x-ingressd-reason")) == (500, "auth_unavailable")
    assert "is refused: it is" in caplog.text


async def test_a_service_whose_certificate_is_not_valid_is_not_believed(app: Backend, tmp_path: Path) -> None:
    certificate = issue("auth.test", "127.0.0.1")
    (tmp_path / "pair.pem").write_bytes(certificate.chain_pem + certificate.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    heads: list[bytes] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with serving_manifests(manifests(app, {"auth-url": f"https://127.0.0.1:{port}/"})) as edge:
        answer = await get(edge)
    server.close()
    assert (answer.status, field(answer, "x-ingressd-reason")) == (500, "auth_unavailable")
    assert not heads
    assert not app.peers


async def test_a_client_that_leaves_ends_the_request_for_it(app: Backend, auth: AuthService) -> None:
    auth.answer = None
    async with serving_manifests(manifests(app, {"auth-url": f"http://127.0.0.1:{auth.port}/"})) as edge:
        _, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await asyncio.wait_for(auth.arrived.wait(), 10)
        assert (await get(edge, "/", {"X-Ingressd-Auth-Request": "1"})).status == 500  # the loop is free meanwhile
        writer.transport.abort()
        await asyncio.wait_for(auth.left.wait(), 10)
        assert {entry.status for entry in await edge.logged(2)} == {499, 500}


async def test_only_the_service_says_what_the_endpoint_hears(app: Backend, auth: AuthService) -> None:
    annotations = {
        "auth-url": f"http://127.0.0.1:{auth.port}/",
        "auth-response-headers": "X-User, Authorization,X-Groups",
    }
    auth.answer = says(200, "X-User: joe", "Authorization: Bearer t", "X-Groups: a", "X-Groups: b", "X-Other: 1")
    async with serving_manifests(manifests(app, annotations)) as edge:
        answer = await get(edge, headers={"X-User": "root", "x-USER": "admin", **JOE})
        body = answer.body.decode()
        assert "x-user: joe\r\n" in body
        assert "authorization: Bearer t\r\n" in body
        assert "x-groups: a, b\r\n" in body
        assert "root" not in body
        assert "admin" not in body
        assert "X-Other" not in body
        assert auth.field("authorization") == JOE["Authorization"]
        auth.answer = says(200)
        body = (await get(edge, headers={"X-User": "root", **JOE})).body.decode().lower()
        assert "x-user" not in body
        assert "authorization" not in body


async def test_people_are_sent_to_sign_in_and_told_where_they_wanted_to_go(app: Backend, auth: AuthService) -> None:
    auth.answer = says(401, "Set-Cookie: csrf=1")
    annotations = {"auth-url": f"http://127.0.0.1:{auth.port}/", "auth-signin": "https://$host/start"}
    async with serving_manifests(manifests(app, annotations)) as edge:
        answer = await get(edge, "/cart?id=1&x=2")
    assert (answer.status, field(answer, "x-ingressd-reason")) == (302, "auth_failed")
    assert field(answer, "location") == "https://a.test/start?rd=http://a.test%2Fcart%3Fid%3D1%26x%3D2"
    assert field(answer, "set-cookie") == "csrf=1"


@pytest.mark.parametrize(
    ("always", "status", "cookies"), [("false", 200, 2), ("false", 401, 0), ("true", 401, 2), ("true", 200, 2)]
)
async def test_cookies_of_the_service_are_for_the_client(
    app: Backend, auth: AuthService, always: str, status: int, cookies: int
) -> None:
    auth.answer = says(status, "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2")
    annotations = {"auth-url": f"http://127.0.0.1:{auth.port}/", "auth-always-set-cookie": always}
    async with serving_manifests(manifests(app, annotations)) as edge:
        answer = await get(edge)
    assert answer.status == status
    given = [value.decode() for value in field_values(answer.head, b"set-cookie")]
    assert given == ["a=1; Path=/", "b=2"][:cookies]


async def test_answers_are_kept_under_a_key_and_never_without_one(app: Backend, auth: AuthService) -> None:
    annotations = {
        "auth-url": f"http://127.0.0.1:{auth.port}/",
        "auth-cache-key": "$cookie_session",
        "auth-response-headers": "X-User",
    }
    auth.answer = says(200, "X-User: joe")
    async with serving_manifests(manifests(app, annotations)) as edge:
        for _ in range(2):
            assert b"x-user: joe" in (await get(edge, headers={"Cookie": "session=1"})).body
        assert len(auth.asked) == 1
        auth.answer = says(401)
        for _ in range(2):
            assert (await get(edge, headers={"Cookie": "session=2"})).status == 401
        assert len(auth.asked) == 2
        auth.answer = says(200)
        for count in (3, 4):
            assert (await get(edge)).status == 200
            assert len(auth.asked) == count
        auth.answer = says(403)
        for count in (5, 6):  # 403 is not among the statuses that are kept
            assert (await get(edge, headers={"Cookie": "session=3"})).status == 403
            assert len(auth.asked) == count


async def test_fields_for_the_service_come_from_a_config_map(app: Backend, auth: AuthService) -> None:
    config_map = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fields}\ndata: {X-Site: 'at $host', Host: own.test}\n---\n"
    )
    annotations = {
        "auth-url": f"http://127.0.0.1:{auth.port}/",
        "auth-method": "POST",
        "auth-proxy-set-headers": "default/fields",
        "auth-request-redirect": "https://$host/back",
        "auth-keepalive": "100",
    }
    async with serving_manifests(manifests(app, annotations, config_map), faulty=False) as edge:
        assert (await get(edge)).status == 200
    assert auth.asked[0].startswith(b"POST / HTTP/1.1\r\n")
    assert auth.field("x-site") == "at a.test"
    assert auth.field("host") == "own.test"
    assert auth.field("x-auth-request-redirect") == "https://a.test/back"


async def test_the_name_of_a_service_leads_to_its_endpoints_in_any_namespace(app: Backend, auth: AuthService) -> None:
    other = service_yaml({"oauth": auth.port}).replace("{name: oauth", "{namespace: login, name: oauth")
    for host in ("oauth.login.svc.cluster.local", "oauth.login.svc"):
        text = manifests(app, {"auth-url": f"http://{host}/check"}, other)
        async with serving_manifests(text) as edge:
            assert (await get(edge)).status == 200
        assert auth.field("host") == host
        assert auth.asked[-1].startswith(b"GET /check HTTP/1.1\r\n")


async def test_another_endpoint_is_asked_when_one_is_not_there(app: Backend, auth: AuthService) -> None:
    async with backend(echo) as gone:
        port = gone.port
    other = service_yaml({"oauth": port}) + service_yaml({"oauth": auth.port}).partition("---\n")[2].replace(
        "-1,", "-2,"
    )
    text = manifests(app, {"auth-url": "http://oauth.default.svc/"}, other)
    async with serving_manifests(text) as edge:
        assert [(await get(edge)).status for _ in range(4)] == [200] * 4
    assert len(auth.asked) == 4


async def test_a_service_that_is_guarded_by_itself_is_not_asked_without_end(app: Backend) -> None:
    text = service_yaml({"app": app.port})
    async with serving_manifests(text) as edge:
        guarded = text + ingress_yaml({"auth-url": f"http://127.0.0.1:{edge.port}/"}, host="")
        edge.edge.publish(compiled_manifests(guarded).snapshot, None)
        assert (await get(edge)).status == 500
        assert [entry.reason for entry in await edge.logged(2)] == ["auth_unavailable"] * 2
        assert not app.peers


# Any of them.

INSIDE, OUTSIDE = "127.0.0.0/8", "10.0.0.0/8"


@pytest.mark.parametrize(
    ("satisfy", "allowed", "headers", "status"),
    [
        ("any", INSIDE, {}, 200),
        ("any", OUTSIDE, JOE, 200),
        ("any", OUTSIDE, {}, 401),
        ("any", OUTSIDE, WRONG, 401),
        ("all", INSIDE, JOE, 200),
        ("all", INSIDE, {}, 401),
        ("all", OUTSIDE, JOE, 403),
        (None, OUTSIDE, JOE, 403),
    ],
)
async def test_one_guard_is_enough_when_any_is_to_be_satisfied(
    app: Backend, satisfy: str | None, allowed: str, headers: dict[str, str], status: int
) -> None:
    annotations = {"allowlist-source-range": allowed, "auth-type": "basic", "auth-secret": "users"}
    if satisfy is not None:
        annotations["satisfy"] = satisfy
    async with serving_manifests(manifests(app, annotations, USERS)) as edge:
        answer = await get(edge, headers=headers)
        assert answer.status == status
        assert b"authorization" not in answer.body.lower()


async def test_a_service_is_asked_when_passwords_do_not_satisfy(app: Backend, auth: AuthService) -> None:
    annotations = {
        "satisfy": "any",
        "allowlist-source-range": OUTSIDE,
        "auth-type": "basic",
        "auth-secret": "users",
        "auth-url": f"http://127.0.0.1:{auth.port}/",
        "auth-response-headers": "X-User",
    }
    auth.answer = says(200, "X-User: ann", "Set-Cookie: s=1")
    async with serving_manifests(manifests(app, annotations, USERS)) as edge:
        assert b"x-user" not in (await get(edge, headers={**JOE, "X-User": "root"})).body.lower()
        assert not auth.asked
        answer = await get(edge, headers={"Authorization": "Bearer t", "X-User": "root"})
        assert b"x-user: ann" in answer.body
        assert field(answer, "set-cookie") == "s=1"
        assert auth.field("authorization") == "Bearer t"
        auth.answer = says(403)
        assert (await get(edge)).status == 401
        auth.answer = says(500)
        assert (await get(edge)).status == 500


# Tokens.


async def test_a_token_is_verified_with_keys_that_a_service_publishes(app: Backend, auth: AuthService) -> None:
    auth.answer = says(200, "Cache-Control: max-age=600", body=JWKS)
    annotations = {
        "ingressd.dev/jwt-jwks-url": "http://issuer.default.svc.cluster.local/keys",
        "ingressd.dev/jwt-issuer": "https://issuer.test",
        "ingressd.dev/jwt-claims-to-headers": "sub=X-User",
    }
    text = manifests(app, annotations, issuer=auth.port)
    good = {"Authorization": f"Bearer {token(iss='https://issuer.test', sub='joe')}", "X-User": "root"}
    async with serving_manifests(text) as edge:
        for _ in range(2):
            answer = await get(edge, headers=good)
            assert answer.status == 200
            assert b"x-user: joe\r\n" in answer.body
            assert b"root" not in answer.body
        for headers in ({}, {"Authorization": f"Bearer {token(iss='https://other.test')}"}):
            answer = await get(edge, headers=headers)
            assert (answer.status, field(answer, "x-ingressd-reason")) == (401, "auth_failed")
    assert len(auth.asked) == 1
    assert auth.field("host") == "issuer.default.svc.cluster.local"
