"""Answers: a DNS query becomes a response out of a Zone.

In: bytes from a client. Out: a Response, whose message may lack what another name server has to be asked for first;
or an error that is complete; or nothing, for what deserves no answer. Pure: no I/O, and no bytes make it raise.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
from dns.exception import DNSException
from dns.message import Message
from dns.name import Name
from dns.rdata import Rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.HINFO import HINFO
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from ingressd.naming.zone import Labels, Node, Zone

TTL_S = 5
"""Of every record, also of what does not exist (CoreDNS's kubernetes plugin)."""
UDP_BYTES = 1232
"""The longest answer over UDP, whatever a client says it can take: it passes every network unfragmented (DNS Flag Day
2020), and a forged source address gets little by it."""
PLAIN_UDP_BYTES = 512
"""For clients without EDNS (RFC 1035)."""
TCP_BYTES = 65_535
RECORD_BYTES = 16
"""Of the shortest record, an IPv4 address."""
HEADER_BYTES = 12
ALIASES = 8
"""Names of the zone that lead to one another; then it is a loop."""
RCODES = frozenset(dns.rcode.to_text(code) for code in (*range(6), dns.rcode.BADVERS))
"""Those that have a name of their own in the metrics."""

_REFRESH_S, _RETRY_S, _EXPIRE_S = 7200, 1800, 86400
"""Nobody may transfer the zone: the values are CoreDNS's."""
_TRANSFERS = range(128, 255)
"""Types of questions that ask for more than records: transfers above all (RFC 6895 section 3.1)."""
_TYPES = frozenset({"A", "AAAA", "ANY", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT"})
_CLASSES: Mapping[RdataType, Any] = {
    RdataType.A: A,
    RdataType.AAAA: AAAA,
    RdataType.CNAME: CNAME,
    RdataType.HINFO: HINFO,
    RdataType.NS: NS,
    RdataType.PTR: PTR,
    RdataType.SOA: SOA,
    RdataType.SRV: SRV,
    RdataType.TXT: TXT,
}
_IPV4_REVERSE, _IPV6_REVERSE = dns.name.from_text("in-addr.arpa."), dns.name.from_text("ip6.arpa.")


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a query, as far as the zone has it."""

    message: Message
    ask: Name | None = None
    """The name that somebody else knows: the question's own, or where its alias leads."""

    @property
    def outside(self) -> bool:
        """The zone says nothing about the question."""
        return self.ask is not None and not self.message.answer


def read(wire: bytes) -> Message | bytes | None:
    """The query; or the answer to what is none; or None, for what is not answered at all."""
    if len(wire) < HEADER_BYTES:
        return None
    flags = int.from_bytes(wire[2:4], "big")
    if flags & dns.flags.QR:
        return None  # whoever answers to answers can be made to talk for ever
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return _bare(wire, dns.rcode.NOTIMP)
    if int.from_bytes(wire[4:6], "big") != 1:
        return _bare(wire, dns.rcode.FORMERR)
    try:
        return dns.message.from_wire(wire)
    except (DNSException, ValueError):
        return _bare(wire, dns.rcode.FORMERR)


def needs_names(query: Message) -> bool:
    """Whether it asks for the names of an address, which the zone may have to collect first."""
    return _address(query.question[0].name) is not None


def respond(query: Message, zone: Zone | None, *, recursive: bool, limit: int = TCP_BYTES) -> Response:
    """The response. Without a zone: try again later. `recursive`: there are others to ask.

    What cannot fit into `limit` bytes is not even made: it takes 36 ms of 1000 endpoints.
    """
    message = dns.message.make_response(query, recursion_available=recursive, our_payload=UDP_BYTES)
    question = query.question[0]
    kind = question.rdtype
    if query.edns > 0:
        message.use_edns(0, payload=UDP_BYTES)
        message.set_rcode(dns.rcode.BADVERS)
    elif question.rdclass != IN or kind in _TRANSFERS:
        message.set_rcode(dns.rcode.REFUSED)
    elif zone is None:
        message.set_rcode(dns.rcode.SERVFAIL)
    else:
        return _look_up(message, question.name, kind, zone, limit)
    return Response(message)


def failed(query: Message, *, recursive: bool) -> Message:
    """Nobody knows it at the moment."""
    message = dns.message.make_response(query, recursion_available=recursive, our_payload=UDP_BYTES)
    message.set_rcode(dns.rcode.SERVFAIL)
    return message


def udp_bytes(query: Message) -> int:
    """How long the answer over UDP may be."""
    return min(UDP_BYTES, max(PLAIN_UDP_BYTES, query.payload)) if query.edns >= 0 else PLAIN_UDP_BYTES


def kind_of(query: Message) -> str:
    """The type of the question, for the metrics: one of few words."""
    text = dns.rdatatype.to_text(query.question[0].rdtype)
    return text if text in _TYPES else "other"


def rcode_of(answer: Message | bytes) -> str:
    """What became of a query, for the metrics: one of few words."""
    text = dns.rcode.to_text(dns.rcode.Rcode(answer[3] & 15) if isinstance(answer, bytes) else answer.rcode())
    return text if text in RCODES else "other"


def _look_up(message: Message, name: Name, kind: RdataType, zone: Zone, limit: int) -> Response:
    origin = _origin(zone.domain)
    if not name.is_subdomain(origin):
        return _reverse(message, name, kind, zone)
    message.flags |= dns.flags.AA
    target = name
    for _ in range(ALIASES):
        node = zone.node(_labels(target, origin))
        if node is None:
            message.set_rcode(dns.rcode.NXDOMAIN)
            break
        if len(node.services if kind == RdataType.SRV else _of_family(node.addresses, kind)) * RECORD_BYTES > limit:
            message.flags |= dns.flags.TC
            return Response(message)
        if not node.alias or kind == RdataType.CNAME:
            _add(message.answer, target, _records(node, target, kind, zone, origin))
            _add_targets(message, node, kind, origin)
            break
        alias = dns.name.from_text(node.alias)
        _add(message.answer, target, [_rdata(RdataType.CNAME, alias)])
        if kind == RdataType.ANY:
            return Response(message)
        if not alias.is_subdomain(origin):
            return Response(message, ask=alias)
        target = alias
    else:
        message.set_rcode(dns.rcode.SERVFAIL)
        return Response(message)
    if not any(rrset.name == target for rrset in message.answer):
        _add(message.authority, origin, [_soa(origin, zone)])
    return Response(message)


def _reverse(message: Message, name: Name, kind: RdataType, zone: Zone) -> Response:
    """A name outside the zone; that of an address of ours is ours as well."""
    address = _address(name)
    pointers = zone.pointers(address) if address else ()
    if not pointers:
        message.set_rcode(dns.rcode.REFUSED)
        return Response(message, ask=name)
    message.flags |= dns.flags.AA
    origin = _origin(zone.domain)
    if kind in (RdataType.PTR, RdataType.ANY):
        _add(message.answer, name, [_rdata(RdataType.PTR, _name(labels, origin)) for labels in pointers])
    else:
        _add(message.authority, name, [_soa(origin, zone)])
    return Response(message)


def _records(node: Node, name: Name, kind: RdataType, zone: Zone, origin: Name) -> list[Rdata]:
    """Those of one kind at a name."""
    match kind:
        case RdataType.A | RdataType.AAAA:
            return _addresses(node.addresses, kind)
        case RdataType.SRV:
            return [
                _rdata(RdataType.SRV, 0, each.weight, each.port, _name(each.target, origin)) for each in node.services
            ]
        case RdataType.CNAME if node.alias:
            return [_rdata(RdataType.CNAME, dns.name.from_text(node.alias))]
        case RdataType.TXT if node.text:
            return [_rdata(RdataType.TXT, [node.text])]
        case RdataType.SOA if name == origin:
            return [_soa(origin, zone)]
        case RdataType.NS if name == origin:
            return [_rdata(RdataType.NS, _server(origin))]
        case RdataType.ANY if name == origin or node != Node():
            # RFC 8482 section 4.2: nobody needs all records at once but who wants to flood somebody with them.
            return [_rdata(RdataType.HINFO, "RFC8482", "")]
        case _:
            return []


def _add_targets(message: Message, node: Node, kind: RdataType, origin: Name) -> None:
    """The addresses of the targets of SRV records, so that nobody has to ask again."""
    if kind == RdataType.SRV:
        for target, addresses in {each.target: each.addresses for each in node.services}.items():
            for each in (RdataType.A, RdataType.AAAA):
                _add(message.additional, _name(target, origin), _addresses(addresses, each))


def _addresses(addresses: Iterable[str], kind: RdataType) -> list[Rdata]:
    """In a random order: many clients take the first."""
    chosen = _of_family(addresses, kind)
    random.shuffle(chosen)
    return [_rdata(kind, each) for each in chosen]


def _of_family(addresses: Iterable[str], kind: RdataType) -> list[str]:
    return [each for each in addresses if (":" in each) == (kind == RdataType.AAAA)]


def _add(section: list[dns.rrset.RRset], name: Name, records: list[Rdata]) -> None:
    if records:
        section.append(dns.rrset.from_rdata_list(name, TTL_S, records))


def _soa(origin: Name, zone: Zone) -> Rdata:
    master = dns.name.from_text("hostmaster", origin)
    times = (_REFRESH_S, _RETRY_S, _EXPIRE_S, TTL_S)
    return _rdata(RdataType.SOA, _server(origin), master, zone.serial % 2**32, *times)


@lru_cache(maxsize=4)
def _origin(domain: str) -> Name:
    return dns.name.from_text(domain)


def _server(origin: Name) -> Name:
    return dns.name.from_text("ns.dns", origin)


def _rdata(kind: RdataType, *values: object) -> Rdata:
    record: Rdata = _CLASSES[kind](IN, kind, *values)
    return record


def _name(labels: Labels, origin: Name) -> Name:
    return Name(label.encode() for label in labels).concatenate(origin)


def _labels(name: Name, origin: Name) -> Labels:
    # Names of ours are ASCII; what is not is nobody's.
    return tuple(label.decode("latin-1").lower() for label in name.relativize(origin).labels)


def _address(name: Name) -> str | None:
    """The address that a name of in-addr.arpa or ip6.arpa stands for."""
    if not name.is_subdomain(_IPV4_REVERSE) and not name.is_subdomain(_IPV6_REVERSE):
        return None
    try:
        return str(ipaddress.ip_address(dns.reversename.to_address(name)))
    except (DNSException, ValueError):
        return None


def _bare(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """An error without the question, which may be what is wrong."""
    flags = dns.flags.QR | (int.from_bytes(wire[2:4], "big") & (0x7800 | dns.flags.RD)) | rcode
    return wire[:2] + flags.to_bytes(2, "big") + bytes(8)
