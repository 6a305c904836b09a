"""What Services open: tests/golden has the cases; here is what needs more than one run, or many Services."""

from __future__ import annotations

import errno
from random import Random
from typing import Any, cast

import pytest

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import Compiler
from ingressd.compile.node_ports import FIRST, LAST
from ingressd.compile.options import OwnPort, StreamOptions
from ingressd.compile.port_faults import PortProblem
from ingressd.errors import Severity
from ingressd.model.kinds import Kind
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.settings import Settings
from tests.unit.compile.manifests import Object, codes, compiled, options, resources, service

CLUSTER = StreamOptions(cluster_ips=True)


def _node(name: str, **port: Any) -> Object:
    return service(
        name, type="NodePort", ports=[{"port": 80, **port}], annotations={"ingressd.dev/endpoints": "10.0.0.1"}
    )


def _published(*objects: Object, compiler: Compiler, **changes: Any) -> list[str]:
    return sorted(compiler.compile(resources(*objects), {}, options(**changes)).snapshot.streams)


def test_a_node_port_that_is_not_written_stays_when_others_come_and_is_shown() -> None:
    compiler = Compiler()
    (before,) = _published(_node("web"), compiler=compiler)
    assert FIRST <= int(before.rpartition(":")[2]) <= LAST
    number = int(before.rpartition(":")[2])
    assert before in _published(_node("a"), _node("web"), _node("z"), compiler=compiler)
    # Somebody writes it as theirs: that counts.
    after = compiler.compile(resources(_node("other", nodePort=number), _node("web")), {}, options())
    assert codes(after) == []
    assert after.snapshot.streams[before].service == "other"
    row = next(row for row in after.services if row.name == "web").as_dict()
    (other,) = row["node_ports"]
    assert other != number
    assert row["ports"][0]["node_port"] == other
    assert row["listeners"] == [
        {
            "protocol": "TCP",
            "address": "0.0.0.0",
            "port": other,
            "role": "nodePort",
            "pool": "default/web:80",
            "sources": [],
            "bound": True,
        }
    ]


def test_a_virtual_address_is_shown_and_stays_when_options_change() -> None:
    compiler = Compiler()
    first = compiler.compile(resources(service("web")), {}, options(streams=CLUSTER))
    address = first.services[0].as_dict()["cluster_ip"]
    assert address.startswith("127.96.")
    assert [*first.snapshot.streams] == [f"tcp://{address}:80"]
    again = compiler.compile(resources(service("a"), service("web")), {}, options(streams=CLUSTER, scheduler="lc"))
    assert again.services[1].as_dict()["cluster_ip"] == address


def test_whose_the_virtual_address_is_that_two_have_written_is_said() -> None:
    one, two = (service(name, clusterIP="127.96.0.80") for name in ("one", "two"))
    made = compiled(one, two, streams=CLUSTER)
    (fault,) = made.faults
    assert (fault.code, fault.severity, fault.name) == ("cluster_ip_replaced", Severity.WARNING, "two")
    assert fault.message.startswith("clusterIP 127.96.0.80 is that of Service default/one (test.yaml:1)")
    assert made.streams.cluster_ips["default", "one"] == "127.96.0.80"


def test_a_load_balancers_port_is_for_its_source_ranges_and_no_other_port_is() -> None:
    ranges = {"loadBalancerSourceRanges": ["10.0.0.0/8", " 192.0.2.7/32 "]}
    made = compiled(service(type="LoadBalancer", **ranges), streams=CLUSTER)
    found = {listener.role: listener.sources for listener in made.snapshot.streams.values()}
    assert found == {"nodePort": (), "loadBalancer": ("10.0.0.0/8", "192.0.2.7/32"), "clusterIP": ()}
    # Only load balancers have them.
    made = compiled(service(type="NodePort", **ranges))
    assert [listener.sources for listener in made.snapshot.streams.values()] == [()]


@pytest.mark.parametrize("text", ["10.0.0.0/33", "office", "", "10.0.0.1,10.0.0.2"])
def test_a_load_balancers_port_is_for_nobody_when_a_source_range_means_nothing(text: str) -> None:
    made = compiled(service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", text]))
    assert [listener.role for listener in made.snapshot.streams.values()] == ["nodePort"]
    (fault,) = [fault for fault in made.faults if fault.code == "source_range_invalid"]
    assert fault.severity == Severity.ERROR


CLUSTER_IP = {"ports": [{"port": 80}]}
NODE_PORT = {"type": "NodePort", "ports": [{"port": 80}]}
WRITTEN = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30100}]}
BALANCED = {"type": "LoadBalancer", "ports": [{"port": 30100}]}
OUTSIDE = {"ports": [{"port": 80}], "externalIPs": ["127.0.0.40", "192.0.2.1"]}
EXTERNAL = {"type": "ExternalName", "externalName": "example.org"}
HEADLESS = {"clusterIP": "None", "ports": [{"port": 80}]}
EVERY = (CLUSTER_IP, NODE_PORT, WRITTEN, BALANCED, OUTSIDE, EXTERNAL, HEADLESS)


@pytest.mark.parametrize("streams", [StreamOptions(), CLUSTER, StreamOptions(node_ports=False, external_ips=False)])
def test_after_any_edit_of_a_service_that_is_opened_which_would_be_opened_anew(streams: StreamOptions) -> None:
    def written(spec: Object) -> ResourceSet:
        return resources(service("a", **NODE_PORT), service("b", **spec), service("c", **WRITTEN))

    first = written(CLUSTER_IP)
    for one in EVERY:
        for other in (*EVERY, {**CLUSTER_IP, "ports": [{"port": 81}]}):
            compiler = Compiler()
            for spec in (one, other, one):
                anew = written(spec)
                # The other Services are the very same, as after an edit of a file.
                pair = (first.services["default", "b"], anew.services["default", "b"])
                edited = first.replaced([cast("tuple[Resource[Kind], Resource[Kind]]", pair)], ())
                assert edited is not None
                again = compiler.compile(edited, {}, options(streams=streams))
                fresh = Compiler().compile(anew, {}, options(streams=streams))
                assert _told(again) == _told(fresh)


def _told(made: Compilation) -> list[Any]:
    """All that comes of Services, in whatever order."""
    origins = {key: (str(origin.service), origin.loc) for key, origin in made.streams.origins.items()}
    faults = sorted(str(fault) for fault in made.faults)
    return [made.snapshot.streams, origins, made.streams.cluster_ips, made.snapshot.pools, faults]


SERVICES = {
    "plain": (CLUSTER_IP, {"ports": [{"name": "a", "port": 81}, {"name": "b", "port": 82}]}, EXTERNAL, HEADLESS),
    "node": (NODE_PORT, {"type": "NodePort", "ports": [{"port": 8080}]}, CLUSTER_IP),
    "written": (WRITTEN, {**WRITTEN, "externalIPs": ["127.0.0.40"]}, CLUSTER_IP),
    "balanced": (
        BALANCED,
        {"type": "LoadBalancer", "ports": [{"port": 30101}], "allocateLoadBalancerNodePorts": False},
    ),
    "outside": (OUTSIDE, {**OUTSIDE, "externalIPs": ["127.0.0.41"]}, CLUSTER_IP),
    "addressed": ({**CLUSTER_IP, "clusterIP": "127.96.0.9"}, HEADLESS),
    "foreign": ({**CLUSTER_IP, "clusterIP": "10.0.0.9"}, {"ports": [{"port": 84}], "clusterIP": "10.0.0.9"}),
    "rival": ({**CLUSTER_IP, "clusterIP": "127.96.0.9"}, EXTERNAL),
    "first": (CLUSTER_IP, {"ports": [{"port": 83}]}),
    "own": ({"type": "LoadBalancer", "ports": [{"port": 8443}]}, {"type": "LoadBalancer", "ports": [{"port": 8444}]}),
}
"""What each may become. No two versions ask for what depends on the one before."""


@pytest.mark.parametrize("most", [0, 5])
@pytest.mark.parametrize("cluster_ips", [False, True])
def test_after_many_edits_everything_is_as_after_a_new_start(most: int, cluster_ips: bool) -> None:
    random = Random(7)
    own = (OwnPort("--https-port", "0.0.0.0", 8443),)
    streams = StreamOptions(cluster_ips=cluster_ips, most_cluster_listeners=most, own=own)
    versions = {
        name: [resources(service(name, **spec)).services["default", name] for spec in specs]
        for name, specs in SERVICES.items()
    }
    compiler, there = Compiler(), dict.fromkeys(SERVICES, 0)
    for _ in range(60):
        for name in random.sample(sorted(SERVICES), random.choice((1, 1, 1, 2))):
            chosen = random.randrange(-1, len(versions[name]))
            there.pop(name, None)
            if chosen >= 0:
                there[name] = chosen
        now = ResourceSet.of(versions[name][index] for name, index in there.items())
        edited = compiler.compile(now, {}, options(streams=streams))
        assert _told(edited) == _told(Compiler().compile(now, {}, options(streams=streams)))


def test_what_did_not_change_is_the_same_object_in_the_next_snapshot() -> None:
    compiler = Compiler()
    first = compiler.compile(resources(_node("a", nodePort=30001)), {}, options())
    second = compiler.compile(
        resources(_node("a", nodePort=30001), _node("b", nodePort=30002)), {}, options(), first.snapshot
    )
    assert second.snapshot.streams["tcp://0.0.0.0:30001"] is first.snapshot.streams["tcp://0.0.0.0:30001"]


@pytest.mark.parametrize(
    ("own", "address", "refused"),
    [
        (OwnPort("--http-port", "0.0.0.0", 30080), "0.0.0.0", True),
        (OwnPort("--http-port", "127.0.0.1", 30080), "0.0.0.0", True),
        (OwnPort("--http-port", "0.0.0.0", 30080), "127.0.0.1", True),
        (OwnPort("--http-port", "::", 30080), "127.0.0.1", True),
        (OwnPort("--http-port", "127.0.0.1", 30080), "127.0.0.2", False),
        (OwnPort("--http-port", "::1", 30080), "0.0.0.0", False),
        (OwnPort("--http-port", "0.0.0.0", 30081), "0.0.0.0", False),
    ],
)
def test_the_programs_own_ports_win_where_they_meet(own: OwnPort, address: str, refused: bool) -> None:
    compilation = compiled(_node("web", nodePort=30080), streams=StreamOptions(address=address, own=(own,)))
    assert bool(compilation.snapshot.streams) is not refused
    assert codes(compilation) == (["port_taken"] if refused else [])
    assert all("--http-port" in fault.message for fault in compilation.faults)


def test_only_a_port_that_is_for_udp_too_wins_over_udp() -> None:
    node = _node("web", nodePort=30053, protocol="UDP")
    tcp = OwnPort("--http-port", "0.0.0.0", 30053)
    assert codes(compiled(node, streams=StreamOptions(own=(tcp,)))) == []
    assert codes(compiled(node, streams=StreamOptions(own=(tcp._replace(udp=True),)))) == ["port_taken"]


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_the_dns_server_has_its_port_for_both_protocols(protocol: str) -> None:
    settings = Settings(dns_port=30053, dns_bind="127.0.0.1")
    wanted = _node("dns", nodePort=30053, protocol=protocol)
    made = compiled(wanted, streams=StreamOptions.from_settings(settings, 0))
    (fault,) = [fault for fault in made.faults if fault.code == "port_taken"]
    assert "ingressd's own --dns-port has it" in fault.message
    assert f"nodePort 30053/{protocol}" in fault.message
    assert not made.snapshot.streams


def test_a_virtual_address_does_not_mind_who_listens_on_every_address() -> None:
    own = OwnPort("--http-port", "0.0.0.0", 80)
    compilation = compiled(
        service("web"),
        service("balancer", type="LoadBalancer", ports=[{"port": 81, "nodePort": 30081}]),
        service("other", ports=[{"port": 81}]),
        streams=StreamOptions(cluster_ips=True, own=(own,)),
    )
    assert codes(compilation) == []
    assert len(compilation.snapshot.streams) == 5


def test_there_are_no_more_virtual_addresses_than_descriptors() -> None:
    many = [service(f"s{number:02}") for number in range(20)]
    compilation = compiled(*many, streams=StreamOptions(cluster_ips=True, most_cluster_listeners=15))
    assert len(compilation.snapshot.streams) == 15
    (fault,) = compilation.faults
    assert (fault.code, fault.name) == ("cluster_ips_limit", "s15")
    assert "and 4 more ports of Services" in fault.message


def test_a_full_network_is_told_for_each_service_without_an_address() -> None:
    many = [service(f"s{number}") for number in range(7)]
    compilation = compiled(*many, streams=StreamOptions(cluster_ips=True, cluster_cidr="127.99.0.0/29"))
    assert len(compilation.snapshot.streams) == 5
    assert codes(compilation) == ["cluster_ips_exhausted"] * 2


def test_a_port_that_could_not_be_opened_is_a_fault_where_it_is_written() -> None:
    compilation = compiled(_node("a", nodePort=30001), _node("b", nodePort=30002), _node("c", nodePort=30003))
    judged = compilation.with_problems(
        {
            "tcp://0.0.0.0:30001": PortProblem(errno.EADDRINUSE, "redis-server (process 4711)"),
            "tcp://0.0.0.0:30002": PortProblem(errno.EACCES),
            "tcp://0.0.0.0:30003": PortProblem(errno.EMFILE),
            "tcp://0.0.0.0:30009": PortProblem(errno.EADDRINUSE),
        }
    )
    assert [(fault.code, fault.severity, fault.name) for fault in judged.faults] == [
        ("port_held", Severity.ERROR, "a"),
        ("port_forbidden", Severity.ERROR, "b"),
        ("port_unavailable", Severity.ERROR, "c"),
    ]
    assert "nodePort 30001/TCP of Service default/a cannot be opened on 0.0.0.0:30001" in judged.faults[0].message
    assert "redis-server (process 4711) has it" in judged.faults[0].message
    assert all(fault.line for fault in judged.faults)
    assert [row.as_dict()["listeners"][0]["bound"] for row in judged.services] == [False] * 3
    assert compilation.with_problems({}) is compilation


def test_a_holder_that_is_not_known_is_another_process() -> None:
    compilation = compiled(_node("a", nodePort=30001))
    (fault,) = compilation.with_problems({"tcp://0.0.0.0:30001": PortProblem(errno.EADDRINUSE)}).faults
    assert "another process has it" in fault.message
