"""Custom errors: which answers are replaced, by whom, and what the error backend is told."""

from __future__ import annotations

from typing import Any

import pytest

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Detour, Unusable
from ingressd.filters.custom_errors import SPEC, CustomErrors
from ingressd.filters.registry import ANNOTATIONS
from ingressd.proxy.response import OutgoingResponse
from tests.support.asked import asked
from tests.support.edge import route
from tests.unit.filters.lookup import Known, site

POOL = "default/pages:80"


def values(**annotations: str) -> dict[str, Any]:
    names = {key.replace("_", "-"): value for key, value in annotations.items()}
    return {name: ANNOTATIONS[name].parse(text) for name, text in names.items()}


def outcome(filter_: CustomErrors, status: int, reason: str = "", url: str = "http://a.test/x?y") -> object:
    request = asked(url, headers={"Accept": "text/html"}, route=route(path="/x"))
    return filter_.on_response(request, OutgoingResponse(status, (), reason, "127.0.0.1:80"))


def test_a_status_that_is_not_listed_stays() -> None:
    assert outcome(CustomErrors(POOL, frozenset({404})), 500) is None
    assert outcome(CustomErrors(POOL), 404) is None


def test_the_error_backend_is_told_what_happened_and_where() -> None:
    assert outcome(CustomErrors(POOL, frozenset({404})), 404) == Detour(
        POOL,
        "/",
        (
            ("X-Code", "404"),
            ("X-Format", "text/html"),
            ("X-Original-URI", "/x?y"),
            ("X-Namespace", "default"),
            ("X-Ingress-Name", "test"),
            ("X-Service-Name", "app"),
            ("X-Service-Port", "80"),
            ("X-Request-ID", "0123456789abcdef0123456789abcdef"),
        ),
    )


@pytest.mark.parametrize(("reason", "replaced"), [("", False), (Reason.UPSTREAM_RESET, True)])
def test_without_intercepting_only_answers_of_the_proxy_are_replaced(reason: str, *, replaced: bool) -> None:
    made = CustomErrors(POOL, frozenset({502}), intercept=False)
    assert isinstance(outcome(made, 502, reason), Detour) is replaced


def test_without_endpoints_the_default_backend_gets_the_target_as_it_was() -> None:
    for statuses in (frozenset[int](), frozenset({503})):
        made = CustomErrors(POOL, statuses, without_endpoints=True)
        detour = outcome(made, 503, Reason.NO_ENDPOINTS)
        assert isinstance(detour, Detour)
        assert (detour.target, dict(detour.headers)["X-Code"]) == ("/x?y", "503")
    detour = outcome(made, 503, Reason.OVERLOAD)
    assert isinstance(detour, Detour)
    assert detour.target == "/"
    assert outcome(CustomErrors(POOL, without_endpoints=True), 503, Reason.OVERLOAD) is None


def test_without_a_pool_the_page_is_our_own_and_is_not_replaced_again() -> None:
    made = CustomErrors("", frozenset({404}))
    reply = outcome(made, 404)
    assert isinstance(reply, LocalReply)
    assert (reply.status, reply.reason, reply.close) == (404, Reason.CUSTOM_ERROR, False)
    assert outcome(made, 404, Reason.CUSTOM_ERROR) is None


def test_statuses_are_a_list() -> None:
    assert values(custom_http_errors=" 404, 503,404")["custom-http-errors"] == {404, 503}


@pytest.mark.parametrize("text", ["", "404;503", "200", "600", "4e2", "٤٠٤", "0404", "-404", "404,,x"])
def test_what_is_no_list_of_statuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="statuses from 300 to 599"):
        ANNOTATIONS["custom-http-errors"].parse(text)


@pytest.mark.parametrize("text", ["", " ", "other/pages"])
def test_the_default_backend_is_a_service_of_the_same_namespace(text: str) -> None:
    with pytest.raises(ValueError, match="the name of a Service"):
        ANNOTATIONS["default-backend"].parse(text)


class WithDefault(Known):
    """The operator has a default backend."""

    def default_pool(self, annotation: str) -> str:
        return "operator/pages:80"


def test_the_service_of_the_ingress_comes_before_the_operators() -> None:
    lookup = WithDefault(services=("/pages",))
    where = site()
    object.__setattr__(where, "lookup", lookup)
    both = SPEC.build(values(default_backend="pages", custom_http_errors="404"), where)
    assert both == CustomErrors("/pages:", frozenset({404}), without_endpoints=True)
    listed = SPEC.build(values(custom_http_errors="404", disable_proxy_intercept_errors="true"), where)
    assert listed == CustomErrors("operator/pages:80", frozenset({404}), intercept=False)
    assert SPEC.build(values(disable_proxy_intercept_errors="true"), where) is None


def test_a_service_that_is_missing_is_said() -> None:
    with pytest.raises(Unusable) as problem:
        SPEC.build(values(default_backend="gone"), site())
    assert problem.value.annotation == "default-backend"


def test_what_it_says_of_itself() -> None:
    assert str(CustomErrors(POOL, frozenset({503, 404}), without_endpoints=True)) == (
        "404, 503, no endpoints: default/pages:80"
    )
    assert str(CustomErrors("", frozenset({404}))) == "404: our own answer"
