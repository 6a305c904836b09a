"""Zones of the tests: manifests compiled as `ingressd run` compiles them, and questions to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dns.message
import dns.rdatatype
from dns.message import Message
from dns.rcode import to_text

from ingressd.compile.options import StreamOptions
from ingressd.discovery.base import Answer, Query
from ingressd.naming.answers import respond
from ingressd.naming.zone import Zone
from tests.unit.compile.manifests import Object, compiled, service, slice_of

DOMAIN = "cluster.local"
NAMED = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
BOTH = [{"name": "http", "port": 8080}, {"name": "dns", "port": 5353, "protocol": "UDP"}]
"""The same ports, in a slice."""


def zone(
    *objects: Object,
    cluster_ips: bool = False,
    answers: Mapping[Query, Answer] | None = None,
    allow: tuple[str, ...] = (),
    **changes: Any,
) -> Zone:
    """The zone of these objects, with the names of addresses at hand."""
    options = StreamOptions(cluster_ips=cluster_ips, **changes)
    compilation = compiled(*objects, answers=answers, streams=options, external_name_allow=allow)
    made = Zone(compilation, DOMAIN, serial=7, server=("127.0.0.1",))
    made.reverse()
    return made


def slice_with(endpoints: list[Any], *, service: str = "web", name: str = "", **fields: Any) -> Object:
    """An EndpointSlice with these endpoints."""
    return {**slice_of(service, name=name), "ports": BOTH, "endpoints": endpoints, **fields}


def ask(zone: Zone | None, name: str, kind: str = "A", *, recursive: bool = False) -> Message:
    """The answer to a question about a name below the domain, or an absolute one."""
    absolute = name if name.endswith(".") else f"{name}.{DOMAIN}." if name else f"{DOMAIN}."
    return respond(dns.message.make_query(absolute, kind), zone, recursive=recursive).message


def told(message: Message) -> list[str]:
    """The code, if it is an error, and the records of the answer as `KIND VALUE`, sorted."""
    code = to_text(message.rcode())
    records = [f"{dns.rdatatype.to_text(each.rdtype)} {record}" for each in message.answer for record in each]
    return [*([] if code == "NOERROR" else [code]), *sorted(records)]


WEB: tuple[Object, ...] = (
    service(ports=NAMED),
    slice_with(
        [
            {"addresses": ["10.0.0.1"], "hostname": "one"},
            {"addresses": ["10.0.0.2"]},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": False}},
        ]
    ),
    slice_with([{"addresses": ["2001:db8::1"]}], name="six", addressType="IPv6"),
)
"""A Service with a virtual address, if there are any."""

HEADLESS: tuple[Object, ...] = (service(ports=NAMED, clusterIP="None"), *WEB[1:])
