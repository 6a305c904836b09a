"""Loops: endpoints that are ports of our own, from where connections would come back for ever.

In: Pools, the listeners of Services, the program's own ports. Out: the same Pools without such endpoints, with a fault
for each. A port that only leads on, to another Service and away, is fine: what counts is whether it comes back. Nobody
gets to the admin port through a Service, which would make everybody's what is the operator's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ingressd.compile.made import PoolName
from ingressd.compile.options import CompileOptions, OwnPort, StreamOptions
from ingressd.compile.slices import Place, places_by_address
from ingressd.errors import Fault, Severity
from ingressd.model.endpoint_slice import EndpointSlice
from ingressd.model.kinds import Kind
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.service import Service
from ingressd.model.shape import Loc
from ingressd.table.endpoint import Endpoint
from ingressd.table.pool import Pool
from ingressd.table.snapshot import edited
from ingressd.table.stream import TCP, UDP, StreamListener

_REQUESTS = "requests"
"""Where the ports of HTTP and HTTPS lead: to the Pools of all routes. No Pool has such an id."""
_ADMIN = "admin"
_PURPOSES = {"--http-port": _REQUESTS, "--https-port": _REQUESTS, "--admin-port": _ADMIN}
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class _Own(NamedTuple):
    """An endpoint that is a port of ours."""

    endpoint: Endpoint
    leads_to: str
    """Id of a Pool, or one of the words above."""
    port: str
    """In words."""


class _Seen(NamedTuple):
    """What was looked at last, and found."""

    pools: Mapping[str, Pool]
    listeners: Mapping[str, StreamListener]
    ports: Collection[int]
    """All of ours."""
    held: frozenset[str]
    own: Mapping[str, tuple[_Own, ...]]
    """By Pool, of those that have any."""


class LoopMemory:
    """What the last run found, of the same options."""

    def __init__(self) -> None:
        self.seen: _Seen | None = None


def without_loops(
    pools: Mapping[str, Pool],
    requests: Collection[PoolName],
    listeners: Mapping[str, StreamListener],
    resources: ResourceSet,
    options: CompileOptions,
    faults: list[Fault],
    memory: LoopMemory,
) -> Mapping[str, Pool]:
    """The Pools. `requests` are those of routes."""
    own = _own_ports(pools, listeners, options, memory)
    if not own:
        return pools
    looping = _looping(own, requests)
    changed: dict[str, Pool] = {}
    told: dict[Fault, None] = {}
    """Two Pools of a Service may have the same endpoint."""
    for id_, found in own.items():
        refused = [each for each in found if each.leads_to == _ADMIN or {id_, each.leads_to} <= looping]
        if refused:
            pool = pools[id_]
            told.update(dict.fromkeys(_faults(pool, refused, resources)))
            changed[id_] = _without(pool, {each.endpoint for each in refused})
    faults += told
    return {**pools, **changed} if changed else pools


def _own_ports(
    pools: Mapping[str, Pool], listeners: Mapping[str, StreamListener], options: CompileOptions, memory: LoopMemory
) -> Mapping[str, tuple[_Own, ...]]:
    """Which endpoints are ports of ours. With the same listeners, only Pools that were edited are looked at."""
    seen = memory.seen
    found: dict[str, tuple[_Own, ...]] = {}
    looked_at: Collection[Pool] = pools.values()
    held = options.streams.held
    if seen is not None and seen.listeners is listeners and seen.held == held:
        looked_at = [pools[id_] for id_ in edited(seen.pools, pools)]
        found = {id_: own for id_, own in seen.own.items() if pools.get(id_) is seen.pools[id_]}
    if seen is not None and seen.listeners is listeners:
        ports = seen.ports
    else:
        ports = {listener.port for listener in listeners.values()} | {own.port for own in options.streams.own}
    datagrams: set[str] | None = None
    for pool in looked_at:
        for endpoint in pool.endpoints:
            if endpoint.port in ports:
                if datagrams is None:
                    datagrams = {each.pool for each in listeners.values() if each.protocol == UDP}
                protocol = UDP if pool.id in datagrams else TCP
                if own := tuple(_own(pool, protocol, listeners, options.streams)):
                    found[pool.id] = own
                break
    memory.seen = _Seen(pools, listeners, ports, held, found)
    return found


def _own(pool: Pool, protocol: str, listeners: Mapping[str, StreamListener], options: StreamOptions) -> Iterator[_Own]:
    for endpoint in pool.endpoints:
        address = _kernels(endpoint.address)
        here = address.startswith("127.") or address == "::1" or address in options.machine
        places = (address, *_EVERYWHERE) if here else (address,)
        own = next((each for each in options.own if protocol == TCP and _meets(each, places, endpoint.port)), None)
        if own is not None:
            if own.flag in _PURPOSES:
                yield _Own(endpoint, _PURPOSES[own.flag], f"ingressd's own {own.flag}")
        elif (listener := _listener(protocol, places, endpoint.port, listeners, options.held)) is not None:
            yield _Own(endpoint, listener.pool, f"the {listener.role} of {listener.namespace}/{listener.service}")


def _listener(
    protocol: str, places: Iterable[str], port: int, listeners: Mapping[str, StreamListener], held: Collection[str]
) -> StreamListener | None:
    """Who has the port at one of the addresses. That of its own comes before those that mean every address."""
    for place in places:
        written = f"[{place}]" if ":" in place else place
        key = f"{protocol.lower()}://{written}:{port}"
        if key in listeners:
            # What another program has is no port of ours: most likely it is the application itself.
            return None if key in held else listeners[key]
    return None


def _meets(own: OwnPort, places: Collection[str], port: int) -> bool:
    if own.port != port:
        return False
    bound = own.address.strip("[]")
    return bound in places or (bound in ("", "localhost") and len(places) > 1)


def _kernels(address: str) -> str:
    """The address that the kernel connects to for one."""
    if not address.startswith("::ffff:"):
        return address
    mapped = ipaddress.IPv6Address(address).ipv4_mapped
    return address if mapped is None else str(mapped)


def _looping(own: Mapping[str, tuple[_Own, ...]], requests: Collection[PoolName]) -> set[str]:
    """The Pools between which there is a way round: those that lead away, or to whom nobody leads, fall away."""
    ways = {id_: {each.leads_to for each in found} for id_, found in own.items()}
    ways[_REQUESTS] = own.keys() & {name.id for name in requests}
    onward = _endless(ways)
    return _endless(_turned({here: ways[here] & onward for here in onward}))


def _endless(ways: Mapping[str, Collection[str]]) -> set[str]:
    """Those from which one can go on for ever."""
    left = set(ways)
    exits = {here: len(left.intersection(theres)) for here, theres in ways.items()}
    back = _turned(ways)
    ends = [here for here, count in exits.items() if not count]
    while ends:
        end = ends.pop()
        left.discard(end)
        for here in back.get(end, ()):
            exits[here] -= 1
            if not exits[here]:
                ends.append(here)
    return left


def _turned(ways: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """The ways back."""
    back: dict[str, list[str]] = {here: [] for here in ways}
    for here, theres in ways.items():
        for there in theres:
            if there in back:
                back[there].append(here)
    return back


def _faults(pool: Pool, refused: Iterable[_Own], resources: ResourceSet) -> Iterator[Fault]:
    key = (pool.namespace, pool.service)
    places = places_by_address(resources.slices.get(key, ()), resources.endpoints.get(key))
    for own in refused:
        written: list[Place | tuple[Resource[Service], Loc]]
        written = [
            place for place in places.get(own.endpoint.address, ()) if _may_have(place[0].object, own.endpoint.port)
        ]
        service = resources.services.get(key)
        if not written and service is not None:
            written = [(service, ("spec",))]
        yield from (_fault(own, *place) for place in written)


def _may_have(written: Kind, port: int) -> bool:
    """Whether the address may be written there with this port."""
    ports = written.ports if isinstance(written, EndpointSlice) else ()
    return not ports or any(each.port in (None, port) for each in ports)


def _fault(own: _Own, resource: Resource[Any], loc: Loc) -> Fault:
    endpoint = own.endpoint
    if own.leads_to == _ADMIN:
        code, message = "endpoint_admin", f"{endpoint.key} is {own.port}, which no Service leads to: it is not used"
    else:
        code, message = "endpoint_loops", f"{endpoint.key} is {own.port}, from where it comes back: it is not used"
    hint = "name the port where the application itself listens"
    return resource.fault(Severity.ERROR, code, message, hint, loc)


def _without(pool: Pool, refused: Collection[Endpoint]) -> Pool:
    endpoints = tuple(each for each in pool.endpoints if each not in refused)
    problem = "" if endpoints else f"{pool.service} leads to nothing but ingressd itself"
    return replace(pool, endpoints=endpoints, problem=problem)
