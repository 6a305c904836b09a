"""The report about ten Ingresses, in its three forms, and what single Ingresses are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingressd.filters.registry import ANNOTATIONS
from ingressd.migration import pages
from ingressd.migration.differences import SAME, Difference, difference_of, is_accepted
from ingressd.migration.differences import Site as Where
from ingressd.migration.report import Moved, Report, Verdict, report
from tests.unit.compile.manifests import ingress, options, parsed, path, resources, rule, service
from tests.unit.migration.golden_report import FOLDER, FORMS, shown

NGINX = "nginx.ingress.kubernetes.io/"


def moved(*objects: dict[str, Any], **changes: Any) -> Report:
    return report(resources(*objects), options(**changes), ())


def one(annotations: dict[str, str] | None = None, **spec: Any) -> Moved:
    written = {"ingressClassName": "nginx", "rules": [rule("a.test", path())], **spec}
    (found,) = moved(ingress(annotations=annotations or {}, **written), service()).ingresses
    return found


@pytest.mark.parametrize("form", FORMS)
def test_ten_ingresses_become_the_report_that_is_written_down(form: str) -> None:
    assert shown(form) == (FOLDER / f"report.expected.{form}").read_text()


def test_every_form_names_every_ingress_and_every_proposal() -> None:
    told = json.loads(shown("json"))
    for form in ("txt", "md"):
        page = shown(form)
        for each in told["ingresses"]:
            assert each["ingress"] in page
            for proposed in each["proposed"]:
                assert all(name in page for name in proposed["annotations"])


def test_an_ingress_without_annotations_works_the_same() -> None:
    assert one().verdict is Verdict.SAME


@pytest.mark.parametrize("name", ["nginx", "nginx-internal", "my-nginx"])
def test_a_class_that_is_named_like_nginx_is_looked_at(name: str) -> None:
    found = moved(ingress(ingressClassName=name, rules=[rule("a.test", path())]), service())
    assert len(found.ingresses) == 1
    asks = [line for line in found.ingresses[0].needs if "--ingress-class" in line]
    assert bool(asks) is (name != "nginx")


def test_a_class_of_the_controller_needs_nothing_and_another_controllers_is_left_alone() -> None:
    def class_of(name: str, controller: str) -> dict[str, Any]:
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": name},
            "spec": {"controller": controller},
        }

    found = moved(
        class_of("public", "k8s.io/ingress-nginx"),
        class_of("alb", "ingress.k8s.aws/alb"),
        ingress("a", ingressClassName="public", rules=[rule("a.test", path())]),
        ingress("b", ingressClassName="alb", rules=[rule("b.test", path())]),
        service(),
    )
    assert [each.ingress for each in found.ingresses] == ["default/a"]
    assert not [line for line in found.ingresses[0].needs if "class" in line]
    assert found.passed_over == ("default/b",)


def test_of_two_canaries_the_second_one_is_told_that_both_count() -> None:
    def canary(name: str) -> dict[str, Any]:
        annotations = {f"{NGINX}canary": "true", f"{NGINX}canary-weight": "10"}
        return ingress(name, annotations=annotations, ingressClassName="nginx", rules=[rule("a.test", path())])

    found = moved(
        ingress("main", ingressClassName="nginx", rules=[rule("a.test", path())]),
        canary("one"),
        canary("two"),
        service(),
    )
    assert [(each.ingress, [different.subject for different in each.differences]) for each in found.ingresses] == [
        ("default/main", []),
        ("default/one", []),
        ("default/two", ["canary"]),
    ]


def test_a_guard_that_is_misspelled_is_a_difference_because_the_route_is_closed() -> None:
    found = one({f"{NGINX}whitelist-source-rang": "10.0.0.0/8"})
    (difference,) = found.differences
    assert "503" in difference.what
    assert difference.instead == f"did you mean {NGINX}whitelist-source-range?"


def test_an_invalid_value_is_a_difference_with_what_it_must_be() -> None:
    (difference,) = one({f"{NGINX}proxy-read-timeout": "60s"}).differences
    assert "must be a whole number" in difference.what


def test_a_protocol_that_is_not_spoken_is_not_supported() -> None:
    found = one({f"{NGINX}backend-protocol": "FCGI"})
    assert found.verdict is Verdict.UNSUPPORTED
    assert [each.subject for each in found.unsupported] == [f"{NGINX}backend-protocol"]


def test_passing_tls_on_needs_a_flag() -> None:
    found = one({f"{NGINX}ssl-passthrough": "true"})
    assert [line for line in found.needs if "--ssl-passthrough" in line]


def test_a_backend_that_is_no_service_is_not_supported() -> None:
    resource = {"resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "files"}}
    found = one(rules=[], defaultBackend=resource)
    assert found.verdict is Verdict.UNSUPPORTED
    assert found.hosts == ("*",)


def test_an_example_is_asked_for_at_a_path_of_the_ingress() -> None:
    annotations = {f"{NGINX}rewrite-target": "/$2"}
    paths = path("/app(/|$)(.*)", path_type="ImplementationSpecific")
    found = one(annotations, rules=[rule("*.a.test", paths)], tls=[{"hosts": ["any.a.test"]}])
    (difference,) = found.differences
    assert difference.example is not None
    assert difference.example.url == "https://any.a.test/app/a%2Fb"


SITE = Where("https", "a.test", "/")


def difference(name: str, value: str) -> Difference | None:
    return difference_of(name, f"{NGINX}{name}", value, SITE)


@pytest.mark.parametrize("name", sorted(name for name, each in ANNOTATIONS.items() if each.note and not each.native))
def test_every_note_of_a_filter_is_told_or_is_about_something_else(name: str) -> None:
    samples = (
        "true",
        "on",
        "/$1",
        "https://a.test",
        "10",
        "default-backend",
        "a.test",
        "$http_x_user",
        "off",
        "optional_no_ca",
        "TLSv1.1 TLSv1.2",
    )
    told = any(difference(name, value) for value in samples)
    assert told + (name in SAME) + is_accepted(name) + (name == "server-alias") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from-to-www-redirect", "false"),
        ("from-to-www-redirect", "perhaps"),
        ("rewrite-target", "/"),
        ("auth-url", "http://auth.test/"),
        ("mirror-target", "http://copy.test$request_uri"),
        ("proxy-request-buffering", "off"),
        ("service-upstream", "false"),
        ("enable-cors", "true"),
        ("upstream-hash-by", "$request_uri"),
        ("upstream-hash-by", "$http_x_user$remote_addr"),
        ("auth-tls-verify-client", "on"),
        ("proxy-ssl-protocols", "TLSv1.2 TLSv1.3"),
        ("proxy-ssl-server-name", "on"),
    ],
)
def test_a_value_that_changes_nothing_is_no_difference(name: str, value: str) -> None:
    assert difference(name, value) is None


def test_error_pages_of_a_service_of_ones_own_are_those_of_ingress_nginx() -> None:
    alone = one({f"{NGINX}custom-http-errors": "404"})
    assert [each.subject for each in alone.differences] == [f"{NGINX}custom-http-errors"]
    found = one({f"{NGINX}custom-http-errors": "404", f"{NGINX}default-backend": "web"})
    assert f"{NGINX}custom-http-errors" in found.same


def test_the_www_example_leads_from_the_other_name() -> None:
    found = difference("from-to-www-redirect", "true")
    assert found is not None
    assert found.example is not None
    assert found.example.url == "https://www.a.test/a/"


def test_what_is_no_object_at_all_is_told_because_an_ingress_may_be_in_it() -> None:
    found = report(parsed("a: [\n---\n- 1\n"), options(), ())
    assert (found.ingresses, found.unread, found.unsupported) == ((), (), True)
    assert [told.partition(":")[0] for told in found.not_objects] == ["test.yaml"] * len(found.not_objects)
    assert found.not_objects
    assert found.as_dict()["not_objects"] == list(found.not_objects)
    for page in (pages.text(found), pages.markdown(found)):
        lines = [*page]
        assert all(any(told in line for line in lines) for told in found.not_objects)


def test_an_auth_snippet_sets_fields_for_the_service_that_is_asked_and_not_for_the_endpoint() -> None:
    snippet = 'proxy_set_header X-Own "1";\nproxy_set_header Foo $host;\nproxy_read_timeout 5;'
    (missing,) = one({f"{NGINX}auth-url": "http://auth.test/", f"{NGINX}auth-snippet": snippet}).unsupported
    assert [each.annotations for each in missing.proposals] == [()] * 3
    assert ["auth-proxy-set-headers" in each.remark for each in missing.proposals] == [True, True, False]
