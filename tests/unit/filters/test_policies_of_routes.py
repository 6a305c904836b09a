"""Annotations that refine the policy of a route: times, sizes, the log; the defaults and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ingressd.filters.registry import ANNOTATIONS, SPEC_OF
from ingressd.filters.request_body import size
from ingressd.settings import Limits
from ingressd.table.policy import RoutePolicy
from tests.support.manifest_edge import compiled_manifests, ingress_yaml, service_yaml

BASE = RoutePolicy()


def refined(name: str, text: str) -> RoutePolicy:
    return SPEC_OF[name].refine({name: ANNOTATIONS[name].parse(text)}, BASE)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("proxy-connect-timeout", "7", "connect_s", 7.0),
        ("proxy-read-timeout", "3600", "read_gap_s", 3600.0),
        ("proxy-send-timeout", "30", "send_gap_s", 30.0),
        ("proxy-body-size", "8m", "request_body_bytes", 8 * 1024 * 1024),
        ("proxy-body-size", "0", "request_body_bytes", 0),
        ("proxy-request-buffering", "on", "buffers_request", True),
        ("proxy-request-buffering", "off", "buffers_request", False),
        ("enable-access-log", "false", "access_log", False),
        ("enable-access-log", "true", "access_log", True),
    ],
)
def test_an_annotation_decides_about_its_field_and_no_other(name: str, text: str, field: str, value: Any) -> None:
    policy = refined(name, text)
    assert getattr(policy, field) == value
    others = [each for each in RoutePolicy.__dataclass_fields__ if each != field]
    assert all(getattr(policy, each) == getattr(BASE, each) for each in others)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("1024", 1024), ("8k", 8192), ("8K", 8192), ("1m", 1024**2), ("2G", 2 * 1024**3), (" 1m ", 1024**2)],
)
def test_sizes_are_nginx_sizes(text: str, size_bytes: int) -> None:
    assert size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "m", "-1", "1mb", "1.5m", "1t", "٣", "9" * 30])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size in bytes"):
        size(text)


@pytest.mark.parametrize("name", ["proxy-connect-timeout", "proxy-read-timeout", "proxy-send-timeout"])
@pytest.mark.parametrize("text", ["", "0", "5s", "-1", "1.5", "86401", "soon"])
def test_a_time_is_whole_seconds(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="a whole number from 1 to 86400"):
        ANNOTATIONS[name].parse(text)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("proxy-connect-timeout", "5"),
        ("proxy-read-timeout", "60"),
        ("proxy-send-timeout", "60"),
        ("proxy-body-size", "1m"),
        ("enable-access-log", "true"),
    ],
)
def test_a_route_of_ingress_nginx_without_annotations_has_its_defaults(name: str, default: str) -> None:
    assert ANNOTATIONS[name].default == default
    text = service_yaml({"app": 80}) + ingress_yaml({"enable-rewrite-log": "false"})
    ((row,), faults) = (compiled_manifests(text).routes, compiled_manifests(text).faults)
    assert not faults
    spec = SPEC_OF[name]
    assert spec.refine({name: ANNOTATIONS[name].parse(default)}, row.route.policy) == row.route.policy


def test_an_ingress_that_was_not_written_for_ingress_nginx_has_no_bound_for_bodies() -> None:
    (row,) = compiled_manifests(service_yaml({"app": 80}) + ingress_yaml({})).routes
    assert row.route.policy.request_body_bytes == 0
    ours = compiled_manifests(service_yaml({"app": 80}) + ingress_yaml({"ingressd.dev/enable-access-log": "true"}))
    assert ours.routes[0].route.policy.request_body_bytes == 0


def test_the_class_nginx_is_enough_to_be_written_for_ingress_nginx() -> None:
    text = ingress_yaml({}).replace("spec:\n", "spec:\n  ingressClassName: nginx\n")
    (row,) = compiled_manifests(service_yaml({"app": 80}) + text).routes
    assert row.route.policy.request_body_bytes == 1024 * 1024


def test_the_operators_limits_hold_where_no_annotation_says_anything() -> None:
    limits = Limits(connect_s=1.0, read_gap_s=2.0, send_gap_s=3.0, request_body_bytes=10)
    text = service_yaml({"app": 80}) + ingress_yaml({"proxy-read-timeout": "9"})
    (row,) = compiled_manifests(text, limits=limits).routes
    policy = row.route.policy
    assert (policy.connect_s, policy.read_gap_s, policy.send_gap_s) == (1.0, 9.0, 3.0)
    assert policy.request_body_bytes == 10
