"""The JSON of the admin port, for a site of which everything is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import site as manifests
from tests.support.app import App, app
from tests.support.certificates import issue
from tests.support.program import Program, running
from tests.support.site import Site

pytestmark = pytest.mark.xdist_group("api")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CERTIFICATE = issue("tls.localhost")


class World:
    """A program that serves one host by HTTP and HTTPS, and one Ingress with a mistake."""

    def __init__(self, program: Program, site: Site, behind: App) -> None:
        self.program = program
        self.site = site
        self.app = behind


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    site = Site(folder / "site")
    with app("the app") as behind:
        site.write("site.yaml", manifests.routed("site", "tls.localhost", behind.port, secret="pair"))
        site.write("pair.yaml", manifests.secret("pair", CERTIFICATE))
        site.write("missing.yaml", manifests.ingress("missing", "*.missing.localhost"))
        with running(folder / "log", str(site.folder), "--https-port=0", "--access-log=off") as program:
            yield World(program, site, behind)


def test_routes(world: World) -> None:
    port = world.program.port("https")
    common = {
        "path": "/",
        "path_type": "Prefix",
        "namespace": "default",
        "port": "80",
        "denied": False,
        "condition": "",
    }
    assert world.program.api("routes") == [
        {
            **common,
            "id": "default/site tls.localhost / Prefix",
            "host": "tls.localhost",
            "ingress": "site",
            "service": "site",
            "tls": True,
            "endpoints": [f"127.0.0.1:{world.app.port}"],
            "problem": "",
            "filters": [f"ssl-redirect: 308 to https, port {port}"],
            "file": str(world.site.file("site.yaml")),
            "line": 13,
        },
        {
            **common,
            "id": "default/missing *.missing.localhost / Prefix",
            "host": "*.missing.localhost",
            "ingress": "missing",
            "service": "missing",
            "tls": False,
            "endpoints": [],
            "problem": "there is no Service default/missing",
            "filters": [],
            "file": str(world.site.file("missing.yaml")),
            "line": 12,
        },
    ]


def test_services(world: World) -> None:
    port = world.app.port
    missing, found = world.program.api("services")
    assert (missing["name"], missing["exists"], missing["pools"][0]["endpoints"]) == ("missing", False, [])
    assert found == {
        "namespace": "default",
        "name": "site",
        "exists": True,
        "type": "ClusterIP",
        "headless": False,
        "external_name": None,
        "dns_name": "site.default.svc.cluster.local",
        "dns_addresses": ["127.0.0.1"],
        "ports": [
            {
                "name": "http",
                "port": 80,
                "target_port": port,
                "protocol": "TCP",
                "app_protocol": None,
                "node_port": None,
            }
        ],
        "cluster_ip": None,
        "external_ips": [],
        "node_ports": [],
        "listeners": [],
        "file": str(world.site.file("site.yaml")),
        "line": 17,
        "pools": [
            {
                "id": "default/site:80",
                "port": "80",
                "scheduler": "rr",
                "proxy_modes": ["ipvs"],
                "affinity_s": 0,
                "tls": False,
                "health_check": None,
                "panic_percent": 50,
                "outlier_detection": {
                    "consecutive_failures": 5,
                    "consecutive_gateway_failures": 0,
                    "consecutive_5xx": 0,
                    "success_rate": False,
                    "base_ejection_s": 30.0,
                    "max_ejection_s": 300.0,
                    "max_ejection_percent": 50,
                },
                "slow_start_s": 0.0,
                "breaker": None,
                "discovery": "slices",
                "targets": [],
                "problem": "",
                "endpoints": [
                    {
                        "endpoint": f"127.0.0.1:{port}",
                        "address": "127.0.0.1",
                        "port": port,
                        "weight": 1,
                        "zone": "",
                        "terminating": False,
                        "healthy": True,
                        "state": "ready",
                        "source": "slices",
                        "live": {
                            "active": 0,
                            "idle": 0,
                            "picks": 0,
                            "connects": 0,
                            "failures": 0,
                            "ejections": 0,
                            "ejected_by": 0,
                            "ejected_s": 0.0,
                            "latency_ms": None,
                            "check": None,
                        },
                    }
                ],
                "live": {"workers": 2, "panic": 0, "dialing": 0, "retrying": 0, "breaker": None},
            }
        ],
    }


def test_certificates_without_their_keys(world: World) -> None:
    _, text = world.program.admin("/api/v1/certificates")
    assert "PRIVATE" not in text
    own, self_made = world.program.api("certificates")
    assert TIME.fullmatch(own.pop("not_after"))
    assert own == {
        "fingerprint": CERTIFICATE.fingerprint,
        "origin": "default/pair",
        "names": ["tls.localhost"],
        "hosts": ["tls.localhost"],
        "default": False,
    }
    assert (self_made["default"], self_made["hosts"]) == (True, [])


def test_faults(world: World) -> None:
    (fault,) = world.program.api("faults")
    assert TIME.pattern not in fault["message"]
    assert (fault["severity"], fault["code"], fault["kind"], fault["namespace"], fault["name"]) == (
        "error",
        "service_missing",
        "Ingress",
        "default",
        "missing",
    )
    assert (fault["file"], fault["line"]) == (str(world.site.file("missing.yaml")), 14)


def test_reloads(world: World) -> None:
    newest: dict[str, Any] = world.program.api("reloads")[-1]
    assert TIME.fullmatch(newest.pop("applied_at"))
    assert newest.pop("milliseconds") > 0
    assert newest == {
        "generation": 1,
        "snapshot": 1,
        "trigger": "start",
        "added": 2,
        "changed": 0,
        "removed": 0,
        "faults": 1,
    }


def test_explain_says_what_the_proxy_then_does(world: World) -> None:
    program = world.program
    explained = program.api("explain?url=https://tls.localhost/any%3Fa=1&method=POST")
    assert explained["route"] == "default/site tls.localhost / Prefix"
    assert explained["outcome"]["action"] == "proxy"
    assert explained["outcome"]["endpoints"] == [f"127.0.0.1:{world.app.port}"]
    for host, status in (("tls.localhost", 308), ("x.missing.localhost", 503), ("nobody.localhost", 404)):
        assert program.api(f"explain?url=http://{host}/")["outcome"]["status"] == status
        assert program.get(host=host)[0] == status


def test_what_is_no_question_is_400(world: World) -> None:
    assert world.program.admin("/api/v1/explain")[0] == 400
    assert world.program.admin("/api/v1/explain?url=http://a.localhost/%00")[0] == 400
    assert world.program.admin("/api/v1/nothing")[0] == 404
