"""The configurations: valid for the real program where the tests have it, the same routes for all."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.peers import ALL
from bench.peers.base import Peer, Place, Ports, answer, write_files
from bench.peers.caddy import Caddy
from bench.peers.envoy import Envoy
from bench.peers.haproxy import HAProxy
from bench.peers.ingressd import EDITED_SERVICE, Ingressd
from bench.peers.nginx import Nginx
from bench.peers.traefik import Traefik
from bench.process import free_port
from bench.scenario import CHAIN, Scenario, edition_path
from tests.support.manifest_edge import compiled_manifests

PORTS = Ports(2001, 2002, 2003, 2004)
FULL = Scenario(hosts=3, paths=4, tls=True, access_log=True, workers=2)
SCENARIOS = [
    Scenario(),
    FULL,
    Scenario(hosts=40, file_per_host=True),
    Scenario(hosts=1, paths=500),
    Scenario(stream=True),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.label)
def test_nginx_accepts_its_configuration(scenario: Scenario, place: Place) -> None:
    nginx = Nginx()
    program = nginx.program()
    assert program is not None, "nginx is missing: make test-tools"
    ports = Ports(free_port(), free_port(), free_port(), free_port())
    write_files(place.folder, nginx.files(scenario, place, ports))
    checked = subprocess.run(
        nginx.check_command(scenario, place, ports), capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_haproxy_accepts_its_configuration(place: Place) -> None:
    haproxy = HAProxy()
    program = haproxy.program()
    assert program is not None, "haproxy is missing: make test-tools"
    for scenario in SCENARIOS:
        write_files(place.folder, haproxy.files(scenario, place, PORTS))
        command = [program, "-c", "-f", str(place.folder / "haproxy.cfg")]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert checked.returncode == 0, checked.stderr


def test_nginx_answers_404_for_what_has_no_route_and_502_where_nobody_listens(place: Place) -> None:
    # The upstream's ports are closed: what reaches a route is a 502, which is enough to see that it was one.
    nginx = Nginx()
    ports = Ports(free_port(), free_port(), free_port())
    here = replace(place, upstream=type(place.upstream)(free_port(), free_port()))
    write_files(here.folder, nginx.files(Scenario(), here, ports))
    command = nginx.command(Scenario(), here, ports)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            statuses = {host: _status(process, ports.http, host) for host in ("h0.bench.test", "other.test")}
        finally:
            process.terminate()
    assert statuses == {"h0.bench.test": 502, "other.test": 404}


def _status(process: subprocess.Popen[bytes], port: int, host: str) -> int:
    while True:
        assert process.poll() is None, (process.stderr or b"") and process.stderr.read()  # type: ignore[union-attr]
        try:
            return answer(port, host, "/p1/x")[0]
        except ConnectionRefusedError:
            continue


@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
def test_an_edit_changes_one_file_and_the_edited_host_only(peer: Peer, place: Place) -> None:
    scenario = Scenario(hosts=5)
    before, after = (peer.files(one, place, PORTS) for one in (scenario, scenario.edited(1)))
    changed = [name for name in after if before[name] != after[name]]
    assert len(changed) == 1
    assert edition_path(0) in before[changed[0]]
    assert edition_path(0) not in after[changed[0]]
    assert edition_path(1) in after[changed[0]]


@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
def test_every_host_and_path_is_in_the_configuration(peer: Peer, place: Place) -> None:
    text = "".join(peer.files(FULL, place, PORTS).values())
    for site in FULL.sites():
        assert site.host in text
    for path in ("/p1", "/p2", "/p3"):
        assert path in text


@pytest.mark.parametrize("peer", [peer for peer in ALL if peer.takes_many_files], ids=lambda peer: peer.name)
def test_a_file_for_each_host_is_written_where_that_was_asked_for(peer: Peer, place: Place) -> None:
    few = peer.files(Scenario(hosts=50), place, PORTS)
    many = peer.files(Scenario(hosts=50, file_per_host=True), place, PORTS)
    assert len(many) - len(few) >= 49


@pytest.mark.parametrize("peer", [HAProxy(), Envoy(), Traefik(), Caddy(), Ingressd(), Nginx()], ids=lambda p: p.name)
def test_the_access_log_is_on_only_where_that_was_asked_for(peer: Peer, place: Place) -> None:
    def told(scenario: Scenario) -> str:
        files = "".join(peer.files(scenario, place, PORTS).values())
        words = " ".join(peer.command(scenario, place, PORTS))
        return files + words + str(peer.output(scenario, place))

    assert str(place.access_log) in told(Scenario(access_log=True))
    assert str(place.access_log) not in told(Scenario())


def test_the_json_and_yaml_of_the_peers_can_be_read(place: Place) -> None:
    envoy, caddy, traefik = (peer.files(FULL, place, PORTS) for peer in (Envoy(), Caddy(), Traefik()))
    hosts = json.loads(envoy["routes.json"])["resources"][0]["virtual_hosts"]
    assert [route["match"] for route in hosts[0]["routes"]][-1] == {"prefix": "/"}
    assert set(json.loads(caddy["caddy.json"])["apps"]["http"]["servers"]) == {"http", "https"}
    routers = yaml.safe_load(traefik["dynamic/all.yaml"])["http"]["routers"]
    assert len(routers) == 3 * 4 + 1
    assert yaml.safe_load(traefik["traefik.yaml"])["entryPoints"]["websecure"]["http"] == {"tls": {}}


def test_a_host_with_many_paths_becomes_several_ingresses_within_the_limit_of_a_document(place: Place) -> None:
    files = Ingressd().files(Scenario(hosts=1, paths=10_000), place, PORTS)
    documents = [text for file in files.values() for text in file.split("---\n")]
    assert max(map(len, documents)) < 1024 * 1024
    assert sum(text.count("path: /") for text in documents) == 10_000 + 2


def test_the_manifests_say_what_the_scenario_says(place: Place) -> None:
    files = Ingressd().files(FULL, place, PORTS)
    documents = [document for text in files.values() for document in yaml.safe_load_all(text)]
    kinds = sorted(document["kind"] for document in documents)
    assert kinds == ["EndpointSlice"] * 2 + ["Ingress"] * 5 + ["Secret"] + ["Service"] * 2
    ingress = next(one for one in documents if one["metadata"]["name"] == "h0-bench-test-0")
    assert [path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]] == ["/", "/p1", "/p2", "/p3"]
    assert ingress["spec"]["tls"] == [{"hosts": ["h0.bench.test"], "secretName": "edge-tls"}]


def _objects(scenario: Scenario, place: Place) -> dict[tuple[str, str], dict[str, Any]]:
    files = Ingressd().files(scenario, place, PORTS)
    documents = [document for text in files.values() for document in yaml.load_all(text, yaml.CSafeLoader)]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def test_the_filters_of_a_scenario_are_on_its_numbered_hosts_and_compile(place: Place) -> None:
    scenario = Scenario(hosts=3, annotations=CHAIN)
    compilation = compiled_manifests("---\n".join(Ingressd().files(scenario, place, PORTS).values()))
    assert not compilation.faults
    filters = {row.route.host: len({*row.route.filters, *row.route.response_filters}) for row in compilation.routes}
    own = {site.host for site in scenario.sites() if site.annotations}
    assert own == {"h0.bench.test", "h1.bench.test", "h2.bench.test"}
    assert all(filters[host] == (len(CHAIN) if host in own else 0) for host in filters)


def test_tcp_is_the_port_of_a_load_balancer(place: Place) -> None:
    service = _objects(Scenario(stream=True), place)["Service", "stream"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(2004, 1001)]
    assert ("Service", "stream") not in _objects(Scenario(), place)


def test_services_that_no_host_names_stand_beside_and_one_is_edited(place: Place) -> None:
    plain, many = _objects(Scenario(), place), _objects(Scenario(services=1200), place)
    beside = [name for kind, name in many if kind == "Service" and name.startswith("beside-")]
    assert len(beside) == 1200
    assert len(many) == len(plain) + 2 * 1200 + 3
    edited = _objects(Scenario(services=1200, edition=2), place)
    assert [key for key, value in many.items() if edited[key] != value and EDITED_SERVICE in key[1]] == [
        ("Service", EDITED_SERVICE),
        ("EndpointSlice", f"{EDITED_SERVICE}-1"),
    ]


def test_a_peer_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.peers.wheels.FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Caddy().missing() == "caddy is not installed (scripts/install-bench-peers)"
    assert Ingressd().missing() is None
