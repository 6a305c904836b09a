"""The ConfigMap of ingress-nginx's controller: what it becomes exists here."""

from __future__ import annotations

import json
import re

import pytest

from ingressd.cli.setting_flags import FLAGS
from ingressd.cli.setting_types import LIMIT_TYPES
from ingressd.filters.registry import ANNOTATIONS
from ingressd.migration import pages
from ingressd.migration.config_map import _TABLE, Entry, Means, entries, flags, is_controllers
from ingressd.migration.report import report
from tests.unit.compile.manifests import options, parsed

SAMPLES = ("true", "false", "10", "429", "64m", "4 8k", "30s", "10.0.0.0/8, 192.0.2.0/24", "notice", "x", "")


def read(name: str = "ingress-nginx-controller", **data: str) -> list[Entry]:
    written = {key.replace("_", "-"): value for key, value in data.items()}
    return read_data(name, written)


def read_data(name: str, data: dict[str, str]) -> list[Entry]:
    object_ = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    (resource,) = parsed(json.dumps(object_)).config_maps.values()
    return [*entries(resource)] if is_controllers(resource) else []


@pytest.mark.parametrize(
    ("key", "value", "flag"),
    [
        ("proxy-body-size", "64m", "--limit=request_body_bytes=67108864"),
        ("proxy-connect-timeout", "10", "--limit=connect_s=10"),
        ("proxy-real-ip-cidr", "10.0.0.0/8, 192.0.2.0/24", "--trusted-proxies=10.0.0.0/8,192.0.2.0/24"),
        ("use-forwarded-headers", "true", "--trusted-proxies=CIDR"),
        ("use-proxy-protocol", "true", "--proxy-protocol=on"),
        ("limit-req-status-code", "429", "--limit-status=429"),
        ("http-redirect-code", "301", "--redirect-status=301"),
        ("keep-alive", "75", "--limit=keepalive_idle_s=75"),
        ("large-client-header-buffers", "4 16k", "--limit=request_head_bytes=65536"),
        ("worker-processes", "auto", "--workers=auto"),
        ("worker-shutdown-timeout", "240s", "--drain-timeout=240"),
        ("load-balance", "round_robin", "--scheduler=rr"),
        ("disable-access-log", "true", "--access-log=off"),
        ("error-log-level", "warn", "--log-level=warning"),
        ("global-allowed-response-headers", "X-A,X-B", "--allowed-response-headers=X-A,X-B"),
    ],
)
def test_a_key_becomes_a_flag(key: str, value: str, flag: str) -> None:
    (entry,) = read_data("ingress-nginx-controller", {key: value})
    assert (entry.means, entry.to) == (Means.FLAG, flag)


@pytest.mark.parametrize("key", sorted(_TABLE))
def test_every_flag_every_limit_and_every_annotation_that_is_named_exists(key: str) -> None:
    known = {flag.flag for flag in FLAGS} | {"--limit"}
    for value in SAMPLES:
        (entry,) = read_data("ingress-nginx-controller", {key: value})
        for flag in re.findall(r"--[a-z-]+", f"{entry.to} {entry.remark}"):
            assert flag in known
        for limit in re.findall(r"--limit=([a-z_]+)=", entry.to):
            assert limit in LIMIT_TYPES
        for name in re.findall(r"(?:ingressd\.dev|nginx\.ingress\.kubernetes\.io)/([a-z-]+)", entry.to):
            assert name in ANNOTATIONS
        assert entry.to or entry.remark


def test_a_value_that_means_nothing_becomes_no_flag() -> None:
    for entry in read(
        proxy_body_size="large", proxy_read_timeout="soon", limit_req_status_code="418", http_redirect_code="305"
    ):
        assert entry.means is Means.NONE
        assert "the value means nothing" in entry.remark


def test_the_flags_of_all_keys_are_one_command_and_a_network_counts_before_a_question() -> None:
    found = read(use_forwarded_headers="true", proxy_real_ip_cidr="10.0.0.0/8", limit_req_status_code="429",
                 limit_conn_status_code="429")  # fmt: skip
    assert flags(found) == ["--trusted-proxies=10.0.0.0/8", "--limit-status=429"]
    assert flags(read(use_forwarded_headers="true")) == ["--trusted-proxies=CIDR"]


def test_a_snippet_has_its_proposals_and_an_unknown_key_is_told() -> None:
    snippet, unknown = read_data(
        "ingress-nginx-controller", {"server-snippet": "add_header A b always;", "new-key": "x"}
    )
    assert (snippet.means, [each.directive for each in snippet.proposals]) == (
        Means.ANNOTATION,
        ["add_header A b always"],
    )
    assert unknown.means is Means.UNKNOWN


def test_a_config_map_of_an_app_is_left_alone_and_one_of_another_name_is_found_by_its_keys() -> None:
    assert read("app", proxy_body_size="1m") == []
    assert len(read("custom-nginx", proxy_body_size="1m", hsts="false")) == 2


def test_ports_of_streams_are_told_by_their_service() -> None:
    (entry,) = read_data("tcp-services", {"5432": "db/postgres:5432"})
    assert "db/postgres" in entry.remark
    assert "NodePort" in entry.to


@pytest.mark.parametrize("value", ["2; reboot", "$(reboot)", "many", "0", "-1"])
def test_a_number_of_workers_that_is_none_becomes_no_flag(value: str) -> None:
    (entry,) = read(worker_processes=value)
    assert entry.means is Means.NONE


def test_a_flag_whose_value_a_shell_would_read_is_quoted() -> None:
    data = {"access-log-path": "a b; reboot", "load-balance": "$(reboot)", "proxy-body-size": "8m"}
    object_ = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nginx-configuration"}, "data": data}
    found = report(parsed(json.dumps(object_)), options(), ())
    command = "ingressd run DIR '--access-log=a b; reboot' '--scheduler=$(reboot)' --limit=request_body_bytes=8388608"
    assert f"  {command}" in pages.text(found)
    assert command in pages.markdown(found)
