"""What a Service says about how its endpoints are watched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingressd.compile.health import ANNOTATIONS, Watch, detection_of, watch_of
from ingressd.compile.options import CompileOptions
from ingressd.settings import OUTLIER_DETECTION, Settings
from ingressd.table.health import PANIC_PERCENT, HealthCheck, HealthTarget, OutlierDetection, target_of
from tests.unit.compile.manifests import NOW, backend, codes, compiled, ingress, service, slice_of

DEFAULT = OutlierDetection(consecutive_failures=5)
WEB = ingress(defaultBackend=backend())


def watched(**written: str) -> Watch:
    """`health_check` is ingressd.dev/health-check."""
    annotations = {f"ingressd.dev/{name.replace('_', '-')}": text for name, text in written.items()}
    return watch_of({"app": "web", **annotations}, DEFAULT)


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("http:/healthz", HealthCheck("http", "/healthz")),
        ("http:/health?full=1", HealthCheck("http", "/health?full=1")),
        ("http", HealthCheck("http", "/")),
        ("https:/", HealthCheck("https", "/")),
        (" tcp ", HealthCheck("tcp")),
        ("tls", HealthCheck("tls")),
        ("off", None),
    ],
)
def test_a_check_is_a_kind_and_a_path(text: str, check: HealthCheck | None) -> None:
    watch = watched(health_check=text)
    assert (watch.check, watch.mistakes) == (check, ())


@pytest.mark.parametrize(
    "text", ["", "ping", "tcp:/x", "tcp:", "http:healthz", "http:/a b", "http:/é", "HTTP:/", "tls:80", "http:/\r\nX: y"]
)
def test_another_check_is_a_mistake_and_none(text: str) -> None:
    watch = watched(health_check=text, health_rise="3")
    assert watch.check is None
    (mistake,) = watch.mistakes
    assert mistake.annotation == "ingressd.dev/health-check"
    assert 'must be "http:/PATH"' in mistake.message


def test_options_of_a_check() -> None:
    watch = watched(
        health_check="https:/up",
        health_interval="500ms",
        health_timeout="1.5",
        health_rise="1",
        health_fall="10",
        health_port="9000",
        health_host="app.example.com:8443",
        health_status="200-299, 401",
        health_body="ok, all of it",
    )
    assert watch.check == HealthCheck(
        kind="https",
        path="/up",
        host="app.example.com:8443",
        port=9000,
        interval_s=0.5,
        timeout_s=1.5,
        rise=1,
        fall=10,
        statuses=((200, 299), (401, 401)),
        body="ok, all of it",
    )
    assert watch.mistakes == ()


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("health_interval", "0"),
        ("health_interval", "50ms"),
        ("health_interval", "often"),
        ("health_interval", "1e3"),
        ("health_interval", "2d"),
        ("health_timeout", "-1"),
        ("health_timeout", "100000"),
        ("health_rise", "0"),
        ("health_fall", "1.5"),
        ("health_fall", "١"),
        ("health_port", "0"),
        ("health_port", "65536"),
        ("health_port", "http"),
        ("health_host", "a b"),
        ("health_host", "a\r\nX: y"),
        ("health_host", ""),
        ("health_status", "299-200"),
        ("health_status", "2xx"),
        ("health_status", "99"),
        ("health_status", "200,"),
        ("health_body", ""),
        ("health_body", "x" * 1025),
    ],
)
def test_an_option_that_means_nothing_is_left_out_and_the_check_stays(option: str, text: str) -> None:
    watch = watched(**{"health_check": "http:/healthz", option: text})
    assert watch.check == HealthCheck("http", "/healthz")
    (mistake,) = watch.mistakes
    assert mistake.invalid
    assert " must be " in mistake.message
    assert len(mistake.message) < 300


@pytest.mark.parametrize(
    ("check", "unused"),
    [
        ("tcp", ["host", "status", "body"]),
        ("tls", ["status", "body"]),
        ("http:/", []),
        (None, ["interval", "rise", "port", "host", "status", "body"]),
        ("off", []),
    ],
)
def test_an_option_that_the_check_has_no_use_for_is_told(check: str | None, unused: list[str]) -> None:
    options = {"interval": "5", "rise": "1", "port": "80", "host": "a", "status": "200", "body": "x"}
    written = {f"health_{name}": text for name, text in options.items()}
    watch = watched(**written, **({} if check is None else {"health_check": check}))
    assert [each.annotation for each in watch.mistakes] == [f"ingressd.dev/health-{name}" for name in unused]
    assert not any(each.invalid for each in watch.mistakes)


def test_what_is_not_written_is_the_default() -> None:
    assert watched() == Watch(outliers=DEFAULT)
    assert watched(slow_start="off").slow_start_s == 0.0
    assert watched().panic_percent == PANIC_PERCENT


def test_slow_start_and_the_panic_threshold() -> None:
    watch = watched(slow_start="2m", panic_threshold="30%")
    assert (watch.slow_start_s, watch.panic_percent, watch.mistakes) == (120.0, 30, ())
    watch = watched(slow_start="soon", panic_threshold="101")
    assert (watch.slow_start_s, watch.panic_percent) == (0.0, PANIC_PERCENT)
    assert [each.annotation for each in watch.mistakes] == ["ingressd.dev/slow-start", "ingressd.dev/panic-threshold"]


def test_outlier_detection_is_a_list_on_top_of_the_default() -> None:
    watch = watched(
        outlier_detection="consecutive-5xx=5, base-ejection=10s,max-ejection=60s, max-ejection-percent=30,"
        " success-rate=on, consecutive-gateway-failures=3"
    )
    assert watch.outliers == OutlierDetection(
        consecutive_failures=5,
        consecutive_gateway_failures=3,
        consecutive_5xx=5,
        success_rate=True,
        base_ejection_s=10.0,
        max_ejection_s=60.0,
        max_ejection_percent=30,
    )
    assert watched(outlier_detection="off").outliers is None
    assert watched(outlier_detection="consecutive-failures=0").outliers is None, "nothing is left to look at"
    longer = watched(outlier_detection="base-ejection=10m").outliers
    assert longer is not None
    assert (longer.base_ejection_s, longer.max_ejection_s) == (600.0, 600.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", '"off" or a list of NAME=VALUE'),
        ("on", '"off" or a list of NAME=VALUE'),
        ("consecutive-6xx=1", "consecutive-5xx"),
        ("consecutive-5xx=many", "a list whose consecutive-5xx is a number from 0 to 1000"),
        ("success-rate=yes", "a list whose success-rate is on or off"),
        ("base-ejection=0", "a list whose base-ejection is a time such as"),
        ("max-ejection-percent=101", "a list whose max-ejection-percent is a number from 0 to 100"),
    ],
)
def test_a_list_that_means_nothing_leaves_the_default(text: str, words: str) -> None:
    watch = watched(outlier_detection=text)
    assert watch.outliers == DEFAULT
    assert words in watch.mistakes[0].message


def test_the_operators_default_is_written_in_the_same_words() -> None:
    assert CompileOptions(now=NOW).outliers == DEFAULT == detection_of(OUTLIER_DETECTION)
    made = CompileOptions.from_settings(
        Settings(outlier_detection="off"), None, NOW, CompileOptions(now=NOW).certificates
    )
    assert made.outliers is None


def test_a_pool_carries_what_its_service_says() -> None:
    annotations = {"ingressd.dev/health-check": "http:/up", "ingressd.dev/slow-start": "30s"}
    compilation = compiled(WEB, service(annotations=annotations), slice_of())
    pool = compilation.snapshot.pools["default/web:80"]
    assert (pool.check, pool.slow_start_s, pool.outliers) == (HealthCheck("http", "/up"), 30.0, DEFAULT)
    assert codes(compilation) == []
    assert compiled(WEB, service(), slice_of(), outliers=None).snapshot.pools["default/web:80"].outliers is None


def test_mistakes_are_faults_at_their_annotation() -> None:
    annotations = {
        "ingressd.dev/health-check": "tcp",
        "ingressd.dev/health-fall": "no",
        "ingressd.dev/health-body": "x",
    }
    compilation = compiled(WEB, service(annotations=annotations), slice_of())
    assert sorted((fault.code, str(fault.severity)) for fault in compilation.faults) == [
        ("annotation_invalid", "error"),
        ("annotation_unused", "warning"),
    ]
    assert len({fault.column for fault in compilation.faults}) == 2


def test_every_annotation_is_one_of_a_service() -> None:
    compilation = compiled(WEB, service(annotations=dict.fromkeys(ANNOTATIONS, "?")), slice_of())
    assert "annotation_unknown" not in codes(compilation)
    assert [each.rpartition("/")[0] for each in ANNOTATIONS] == ["ingressd.dev"] * len(ANNOTATIONS)


def test_a_check_asks_the_endpoints_port_or_its_own() -> None:
    pool = compiled(WEB, service(annotations={"ingressd.dev/health-check": "tcp"}), slice_of()).snapshot.pools[
        "default/web:80"
    ]
    (endpoint,) = pool.endpoints
    check = HealthCheck("tcp")
    assert target_of(endpoint, check) == HealthTarget("10.0.0.1", 8080, check)
    own = replace(check, port=9)
    assert str(target_of(replace(endpoint, address="fd00::1"), own)) == "[fd00::1]:9"
