"""Keys at a URL: when they are asked for, how long they serve, what happens when the URL is down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ingressd.filters.destination import Destination
from ingressd.filters.jwks import BYTES, FRESH_S, PAUSE_S, STALE_S, KeySource
from ingressd.proxy.services import WorkerServices
from tests.support.asked import asked
from tests.support.auth_service import AuthService, auth_service, says
from tests.unit.filters.tokens import JWKS, guard, jwk, token, verdict

ONE = json.dumps({"keys": [jwk("RS256", "RS256")]}).encode()


@pytest.fixture
async def issuer() -> AsyncIterator[AuthService]:
    async with auth_service() as it:
        it.answer = says(200, "Content-Type: application/json", body=ONE)
        yield it


def _source(services: WorkerServices, issuer: AuthService) -> KeySource:
    return KeySource.of(services, Destination.parse(f"http://127.0.0.1:{issuer.port}/keys"))


def _at(services: WorkerServices, seconds: float) -> Any:
    request = asked(services=services)
    request.began += seconds
    return request


async def test_the_first_request_waits_for_the_keys_and_others_share_them(
    services: WorkerServices, issuer: AuthService
) -> None:
    source = _source(services, issuer)
    assert source.at_hand(_at(services, 0)) is None
    found = await asyncio.gather(*(source.after_asking(_at(services, 0)) for _ in range(5)))
    assert len({id(keys) for keys in found}) == 1
    assert found[0] is not None
    assert len(issuer.asked) == 1
    assert issuer.asked[0].startswith(b"GET /keys HTTP/1.1\r\n")
    assert _source(services, issuer) is source
    assert source.at_hand(_at(services, 1)) is found[0]


@pytest.mark.parametrize(
    ("cache_control", "fresh_s"),
    [
        (None, FRESH_S),
        ("public, max-age=3600", 3600),
        ("max-age=1", 60),
        ("MAX-AGE=99999999", 86_400),
        ("no-store", FRESH_S),
        ("s-maxage=7200", FRESH_S),
    ],
)
async def test_they_are_asked_for_again_in_the_background_when_they_are_no_longer_fresh(
    services: WorkerServices, issuer: AuthService, cache_control: str | None, fresh_s: float
) -> None:
    issuer.answer = says(200, *([f"Cache-Control: {cache_control}"] if cache_control else []), body=ONE)
    source = _source(services, issuer)
    first = await source.after_asking(_at(services, 0))
    assert source.at_hand(_at(services, fresh_s - 1)) is first
    await asyncio.sleep(0)
    assert len(issuer.asked) == 1
    issuer.answer = says(200, body=JWKS)
    assert source.at_hand(_at(services, fresh_s + 1)) is first
    second = await source.after_asking(_at(services, fresh_s + 2))
    assert second is not None
    assert first is not None
    assert (len(issuer.asked), second.version == first.version) == (2, False)


async def test_old_keys_serve_for_an_hour_when_the_url_is_down(services: WorkerServices, issuer: AuthService) -> None:
    source = _source(services, issuer)
    first = await source.after_asking(_at(services, 0))
    issuer.answer = says(503)
    assert await source.after_asking(_at(services, FRESH_S + 1)) is first
    last = FRESH_S + STALE_S
    assert source.at_hand(_at(services, last - 1)) is first
    assert source.at_hand(_at(services, last + 1)) is None
    assert await source.after_asking(_at(services, last + 60)) is None
    issuer.answer = says(200, body=ONE)
    assert await source.after_asking(_at(services, last + 120)) is not None


@pytest.mark.parametrize(
    "said",
    [
        says(404, body=ONE),
        says(302, "Location: /keys"),
        says(200, body=b"not JSON"),
        says(200, body=b'{"keys": []}'),
        says(200, body=b" " * (BYTES + 1) + ONE),
        b"nonsense\r\n\r\n",
    ],
    ids=range(6),
)
async def test_an_answer_that_has_no_keys_gives_none(
    services: WorkerServices, issuer: AuthService, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.answer = said
    assert await _source(services, issuer).after_asking(_at(services, 0)) is None
    assert "the keys at http://127.0.0.1" in caplog.text
    reply = await verdict(
        guard(jwks_url=f"http://127.0.0.1:{issuer.port}/keys"),
        asked(headers={"Authorization": f"Bearer {token()}"}, services=services),
    )
    assert reply is not None
    assert (reply.status, reply.reason) == (503, "auth_unavailable")


async def test_a_key_that_is_not_known_is_asked_for_and_not_more_often_than_every_ten_seconds(
    services: WorkerServices, issuer: AuthService
) -> None:
    made = guard(jwks_url=f"http://127.0.0.1:{issuer.port}/keys")

    async def status(name: str, algorithm: str, seconds: float) -> int:
        request = asked(
            headers={"Authorization": f"Bearer {token(algorithm, headers={'kid': name})}"}, services=services
        )
        request.began += seconds
        reply = await verdict(made, request)
        return 200 if reply is None else reply.status

    assert await status("RS256", "RS256", 0) == 200
    issuer.answer = says(200, body=JWKS)  # the issuer has a new key
    assert await status("ES256", "ES256", PAUSE_S - 1) == 401
    assert len(issuer.asked) == 1
    assert await status("ES256", "ES256", PAUSE_S + 1) == 200
    assert len(issuer.asked) == 2
    for second in range(3):
        assert await status("made up", "ES256", PAUSE_S + 2 + second) == 401
    assert len(issuer.asked) == 2


async def test_a_key_that_the_issuer_took_back_verifies_nothing_more(
    services: WorkerServices, issuer: AuthService
) -> None:
    made = guard(jwks_url=f"http://127.0.0.1:{issuer.port}/keys")
    text = token()
    assert await verdict(made, asked(headers={"Authorization": f"Bearer {text}"}, services=services)) is None
    issuer.answer = says(200, body=json.dumps({"keys": [jwk("ES256", "ES256")]}).encode())
    await _source(services, issuer).after_asking(_at(services, PAUSE_S + 1))
    later = asked(headers={"Authorization": f"Bearer {text}"}, services=services)
    later.began += PAUSE_S + 2
    assert await verdict(made, later) is not None


async def test_a_request_that_ends_does_not_end_the_fetch_for_others(
    services: WorkerServices, issuer: AuthService
) -> None:
    answer, issuer.answer = issuer.answer, None
    source = _source(services, issuer)
    first, second = (asyncio.create_task(source.after_asking(_at(services, 0))) for _ in range(2))
    await asyncio.wait_for(issuer.arrived.wait(), 10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert issuer.backend is not None
    assert answer is not None
    await issuer.backend.peers[0].send(answer)
    assert await second is not None
