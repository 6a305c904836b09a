"""Queries and their answers: the table of the Kubernetes DNS specification, and what no client may achieve."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype
import pytest
from dns.message import Message
from dns.rcode import Rcode, to_text
from hypothesis import given
from hypothesis import strategies as st

from ingressd.naming.answers import TTL_S, kind_of, needs_names, rcode_of, read, respond, udp_bytes
from tests.unit.compile.manifests import service, slice_of
from tests.unit.naming.zones import DOMAIN, HEADLESS, NAMED, WEB, ask, slice_with, told, zone

SIX = "2001-db8--1"

TABLE = [
    ("web.default.svc", "A", ["A 127.96.4.101"], ["A 10.0.0.1", "A 10.0.0.2"]),
    ("web.default.svc", "AAAA", [], ["AAAA 2001:db8::1"]),
    ("web.default.svc", "MX", [], []),
    ("WEB.Default.SVC", "A", ["A 127.96.4.101"], ["A 10.0.0.1", "A 10.0.0.2"]),
    ("one.web.default.svc", "A", ["A 10.0.0.1"], ["A 10.0.0.1"]),
    ("one.web.default.svc", "AAAA", [], []),
    ("10-0-0-2.web.default.svc", "A", ["A 10.0.0.2"], ["A 10.0.0.2"]),
    (f"{SIX}.web.default.svc", "AAAA", ["AAAA 2001:db8::1"], ["AAAA 2001:db8::1"]),
    ("10-0-0-1.web.default.svc", "A", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("10-0-0-3.web.default.svc", "A", ["NXDOMAIN"], ["NXDOMAIN"]),
    (
        "_http._tcp.web.default.svc",
        "SRV",
        ["SRV 0 100 80 web.default.svc.cluster.local."],
        [f"SRV 0 33 8080 {host}.web.default.svc.cluster.local." for host in ("10-0-0-2", SIX, "one")],
    ),
    (
        "_dns._udp.web.default.svc",
        "SRV",
        ["SRV 0 100 53 web.default.svc.cluster.local."],
        [f"SRV 0 33 5353 {host}.web.default.svc.cluster.local." for host in ("10-0-0-2", SIX, "one")],
    ),
    ("_http._tcp.web.default.svc", "A", [], []),
    ("_http._udp.web.default.svc", "SRV", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("_https._tcp.web.default.svc", "SRV", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("_tcp.web.default.svc", "SRV", [], []),
    ("_sctp.web.default.svc", "SRV", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("a.b.web.default.svc", "A", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("other.default.svc", "A", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("web.shop.svc", "A", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("default.svc", "A", [], []),
    ("shop.svc", "A", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("svc", "A", [], []),
    ("pod", "A", ["NXDOMAIN"], ["NXDOMAIN"]),
    ("dns-version", "TXT", ['TXT "1.1.0"'], ['TXT "1.1.0"']),
    ("dns-version", "A", [], []),
    ("ns.dns", "A", ["A 127.0.0.1"], ["A 127.0.0.1"]),
    ("", "NS", ["NS ns.dns.cluster.local."], ["NS ns.dns.cluster.local."]),
    ("", "A", [], []),
    ("101.4.96.127.in-addr.arpa.", "PTR", ["PTR web.default.svc.cluster.local."], ["REFUSED"]),
    ("1.0.0.10.in-addr.arpa.", "PTR", ["REFUSED"], ["PTR one.web.default.svc.cluster.local."]),
    ("2.0.0.10.in-addr.arpa.", "PTR", ["REFUSED"], ["PTR 10-0-0-2.web.default.svc.cluster.local."]),
    ("3.0.0.10.in-addr.arpa.", "PTR", ["REFUSED"], ["REFUSED"]),
    ("1.0.0.10.in-addr.arpa.", "A", ["REFUSED"], []),
    ("0.10.in-addr.arpa.", "PTR", ["REFUSED"], ["REFUSED"]),
    ("example.com.", "A", ["REFUSED"], ["REFUSED"]),
    ("local.", "SOA", ["REFUSED"], ["REFUSED"]),
]
"""A name, a type, what is told of it with virtual addresses, and what for a headless Service."""


@pytest.mark.parametrize(("name", "kind", "expected", "_headless"), TABLE)
def test_a_service_with_a_virtual_address(name: str, kind: str, expected: list[str], _headless: list[str]) -> None:
    assert told(ask(zone(*WEB, cluster_ips=True), name, kind)) == expected


@pytest.mark.parametrize(("name", "kind", "_virtual", "expected"), TABLE)
def test_a_headless_service(name: str, kind: str, _virtual: list[str], expected: list[str]) -> None:
    assert told(ask(zone(*HEADLESS, cluster_ips=True), name, kind)) == expected


@pytest.mark.parametrize(("name", "kind", "_virtual", "expected"), TABLE)
def test_a_service_without_virtual_addresses_is_told_as_a_headless_one(
    name: str, kind: str, _virtual: list[str], expected: list[str]
) -> None:
    assert told(ask(zone(*WEB), name, kind)) == expected


@pytest.mark.parametrize(("name", "kind", "_virtual", "expected"), TABLE)
def test_what_is_not_there_comes_with_the_soa_of_the_zone(
    name: str, kind: str, _virtual: list[str], expected: list[str]
) -> None:
    message = ask(zone(*WEB), name, kind)
    ours = told(message) != ["REFUSED"]
    assert bool(message.flags & dns.flags.AA) == ours
    missing = ours and not message.answer
    assert [each.rdtype for each in message.authority] == [dns.rdatatype.SOA] * missing
    assert {each.ttl for section in (message.answer, message.authority) for each in section} <= {TTL_S}


def test_the_soa_says_the_serial() -> None:
    (soa,) = ask(zone(), "", "SOA").answer
    assert str(soa[0]) == "ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5"


def test_targets_of_srv_records_come_with_their_addresses() -> None:
    message = ask(zone(*HEADLESS), "_http._tcp.web.default.svc", "SRV")
    additional = {f"{each.name} {record}" for each in message.additional for record in each}
    assert additional == {
        f"{label}.web.default.svc.cluster.local. {address}"
        for label, address in (("one", "10.0.0.1"), ("10-0-0-2", "10.0.0.2"), (SIX, "2001:db8::1"))
    }


def test_not_ready_addresses_are_told_if_the_service_says_so() -> None:
    published = service(ports=NAMED, clusterIP="None", publishNotReadyAddresses=True)
    assert "A 10.0.0.3" in told(ask(zone(published, *WEB[1:]), "web.default.svc"))


def test_an_external_name_is_an_alias_for_every_type() -> None:
    known = zone(service("out", type="ExternalName", externalName="api.example.com."))
    for kind in ("A", "AAAA", "TXT", "CNAME", "ANY"):
        assert told(ask(known, "out.default.svc", kind)) == ["CNAME api.example.com."]
    assert told(ask(known, "_http._tcp.out.default.svc", "SRV")) == ["NXDOMAIN"]


def test_an_alias_that_leads_into_the_zone_is_followed() -> None:
    out = service("out", type="ExternalName", externalName=f"web.default.svc.{DOMAIN}")
    gone = service("gone", type="ExternalName", externalName=f"nobody.default.svc.{DOMAIN}")
    known = zone(out, gone, *HEADLESS)
    assert told(ask(known, "out.default.svc")) == ["A 10.0.0.1", "A 10.0.0.2", f"CNAME web.default.svc.{DOMAIN}."]
    assert told(ask(known, "gone.default.svc")) == ["NXDOMAIN", f"CNAME nobody.default.svc.{DOMAIN}."]
    nothing = ask(known, "out.default.svc", "TXT")
    assert told(nothing) == [f"CNAME web.default.svc.{DOMAIN}."]
    assert len(nothing.authority) == 1


def test_aliases_in_a_circle_end() -> None:
    circle = service("round", type="ExternalName", externalName=f"round.default.svc.{DOMAIN}")
    assert told(ask(zone(circle), "round.default.svc"))[0] == "SERVFAIL"


def test_any_gets_one_short_record() -> None:
    for name in ("", "web.default.svc", "dns-version"):
        assert told(ask(zone(*WEB), name, "ANY")) == ['HINFO "RFC8482" ""']
    assert told(ask(zone(*WEB), "svc", "ANY")) == []


def test_many_names_of_one_address_are_told_up_to_a_bound() -> None:
    objects = [
        each for number in range(40) for each in (service(f"s{number:02}"), slice_of(f"s{number:02}", ["127.0.0.1"]))
    ]
    names = told(ask(zone(*objects), "1.0.0.127.in-addr.arpa.", "PTR"))
    assert names == [f"PTR 127-0-0-1.s{number:02}.default.svc.cluster.local." for number in range(16)]


def test_before_there_is_a_zone_clients_are_told_to_try_again() -> None:
    assert told(ask(None, "web.default.svc")) == ["SERVFAIL"]


def test_the_case_of_a_question_is_kept() -> None:
    message = ask(zone(*WEB), "wEB.dEfault.svC")
    answered = dns.message.from_wire(message.to_wire())
    assert answered.question[0].name.to_text() == answered.answer[0].name.to_text() == "wEB.dEfault.svC.cluster.local."


@pytest.mark.parametrize("kind", ["AXFR", "IXFR", "MAILB"])
def test_transfers_are_refused(kind: str) -> None:
    assert told(ask(zone(*WEB), "", kind)) == ["REFUSED"]


@pytest.mark.parametrize("name", ["version.bind.", "web.default.svc"])
@pytest.mark.parametrize("class_", ["CH", "HS", "ANY"])
def test_other_classes_are_refused(name: str, class_: str) -> None:
    query = dns.message.make_query(name if name.endswith(".") else f"{name}.{DOMAIN}.", "TXT", class_)
    assert told(respond(query, zone(*WEB), recursive=False).message) == ["REFUSED"]


def test_a_later_version_of_edns_is_named() -> None:
    query = dns.message.make_query("web.default.svc.cluster.local.", "A", use_edns=1)
    answer = dns.message.from_wire(respond(query, zone(*WEB), recursive=False).message.to_wire())
    assert (answer.rcode(), answer.edns) == (Rcode.BADVERS, 0)


@pytest.mark.parametrize(
    ("edns", "payload", "limit"), [(-1, 0, 512), (0, 0, 512), (0, 900, 900), (0, 1232, 1232), (0, 65535, 1232)]
)
def test_answers_over_udp_have_a_bound_whatever_the_client_says(edns: int, payload: int, limit: int) -> None:
    query = dns.message.make_query("a.", "A", use_edns=edns, payload=payload)
    assert udp_bytes(query) == limit


@pytest.mark.parametrize(("limit", "fits"), [(512, False), (1232, True)])
def test_what_cannot_fit_is_not_made(limit: int, fits: bool) -> None:
    crowd = zone(service("crowd"), slice_of("crowd", [f"10.0.1.{number}" for number in range(1, 41)]))
    query = dns.message.make_query(f"crowd.default.svc.{DOMAIN}.", "A")
    message = respond(query, crowd, recursive=False, limit=limit).message
    assert bool(message.flags & dns.flags.TC) != fits
    assert len(told(message)) == 40 * fits
    assert not message.authority


def test_recursion_is_available_if_there_is_somebody_to_ask() -> None:
    query = dns.message.make_query("example.com.", "A")
    alone, helped = (respond(query, zone(), recursive=each) for each in (False, True))
    assert not alone.message.flags & dns.flags.RA
    assert helped.message.flags & dns.flags.RA
    assert helped.outside
    assert helped.ask == query.question[0].name


def _header(*, flags: int = 0, questions: int = 1) -> bytes:
    return b"\x12\x34" + flags.to_bytes(2, "big") + questions.to_bytes(2, "big") + bytes(6)


QUESTION = b"\x03web\x00\x00\x01\x00\x01"


def test_what_is_no_query_gets_no_answer() -> None:
    assert read(b"") is None
    assert read(_header()[:11]) is None
    assert read(_header(flags=dns.flags.QR) + QUESTION) is None


@pytest.mark.parametrize(
    ("wire", "rcode"),
    [
        (_header(questions=0), "FORMERR"),
        (_header(questions=2) + 2 * QUESTION, "FORMERR"),
        (_header() + QUESTION[:-1], "FORMERR"),
        (_header() + QUESTION + b"more", "FORMERR"),
        (_header() + b"\xc0\x0c\x00\x01\x00\x01", "FORMERR"),
        (_header(flags=dns.opcode.to_flags(dns.opcode.UPDATE)) + QUESTION, "NOTIMP"),
        (_header(flags=dns.opcode.to_flags(dns.opcode.NOTIFY)) + QUESTION, "NOTIMP"),
        (_header(flags=15 << 11), "NOTIMP"),
    ],
)
def test_malformed_queries_are_answered_with_an_error_of_twelve_bytes(wire: bytes, rcode: str) -> None:
    answer = read(wire)
    assert isinstance(answer, bytes)
    assert (len(answer), rcode_of(answer)) == (12, rcode)
    assert answer[:2] == wire[:2]
    assert answer[2] & 0x80
    assert answer[2] & 0x78 == wire[2] & 0x78


@given(st.binary(max_size=600) | st.binary(max_size=60).map(lambda tail: _header() + QUESTION + tail))
def test_whatever_comes_nothing_is_raised_and_no_answer_is_answered(wire: bytes) -> None:
    query = read(wire)
    if isinstance(query, Message):
        assert not wire[2] & 0x80
        message = respond(query, ZONE, recursive=False).message
        assert message.to_wire(max_size=udp_bytes(query), prefer_truncation=True)[2] & 0x80
        assert kind_of(query)
        assert rcode_of(message)
        needs_names(query)
    elif query is not None:
        assert not wire[2] & 0x80
        assert query[2] & 0x80


labels = st.sampled_from(["web", "default", "svc", "one", "_http", "_tcp", "dns", "ns", "10-0-0-2", "10", "0", "a.b"])
ends = st.sampled_from([DOMAIN, "in-addr.arpa", "ip6.arpa", "example.com"])


@given(
    st.lists(labels | st.text(min_size=1, max_size=9), max_size=6),
    ends,
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.booleans(),
)
def test_every_question_has_an_answer_that_repeats_it(
    below: list[str], end: str, kind: int, class_: int, edns: bool
) -> None:
    encoded = [label.encode()[:63] for label in (*below, *end.split("."))]
    name = b"".join(bytes([len(label)]) + label for label in encoded) + b"\0"
    wire = _header() + name + kind.to_bytes(2, "big") + class_.to_bytes(2, "big")
    if edns:
        wire = wire[:11] + b"\x01" + wire[12:] + b"\0\0\x29\x10\0\0\0\0\0\0\0"
    query = read(wire)
    if not isinstance(query, Message):
        assert isinstance(query, bytes)
        return
    answer = dns.message.from_wire(respond(query, ZONE, recursive=False).message.to_wire())
    assert answer.question == query.question
    assert to_text(answer.rcode()) in {"NOERROR", "NXDOMAIN", "REFUSED"}
    assert not answer.answer or answer.answer[0].name == query.question[0].name


ZONE = zone(*HEADLESS, slice_with([], service="lost"))
