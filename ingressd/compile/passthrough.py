"""Passthrough: the hosts whose connections are passed on with the TLS that is spoken on them.

In: what each Ingress says, and the hosts that all Ingresses make. Out: hosts with a StreamListener for their part of
the HTTPS port. The oldest Ingress of a host decides: no other one takes its connections away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ingressd.compile.options import CompileOptions
from ingressd.compile.policies import Policy
from ingressd.errors import Fault, Severity
from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.ssl_passthrough import PASSTHROUGH
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.table.route import ANY_HOST, VirtualHost
from ingressd.table.stream import SSL_PASSTHROUGH, TCP, StreamListener

if TYPE_CHECKING:
    from ingressd.compile.rules import Fragment, Placed

FLAG = "--ssl-passthrough"
_HTTPS_PORT = "--https-port"


def read_passthrough(
    policy: Policy, placed: Mapping[str, Sequence[Placed]], options: CompileOptions, faults: list[Fault]
) -> dict[str, StreamListener]:
    """By host, where its connections go, if the Ingress asks for it. What it costs goes to `faults`."""
    if not policy.values.get(PASSTHROUGH):
        return {}
    ingress, key, loc = policy.ingress, policy.key_of(PASSTHROUGH), policy.loc_of(PASSTHROUGH)
    if not options.ssl_passthrough:
        message = f"{key} has no effect without {FLAG}: TLS ends here"
        faults.append(ingress.fault(Severity.WARNING, "passthrough_off", message, f"start with {FLAG}", loc))
        return {}
    found = {host: _listener(routes, options) for host, routes in placed.items() if host != ANY_HOST and routes}
    if not found:
        message = f"{key} has no effect: there is no rule with a host and a path"
        hint = "a connection is known by its host alone: write rules for hosts"
        faults.append(ingress.fault(Severity.WARNING, "passthrough_without_host", message, hint, loc))
        return {}
    others = sorted(name for name in policy.values if name != PASSTHROUGH)
    if others:
        guards = any(ANNOTATIONS[name].guard for name in others)
        severity = Severity.WARNING if guards else Severity.INFO
        message = f"connections to the HTTPS port are passed on as they are: without {', '.join(others)}"
        hint = "whoever speaks TLS behind it has to do that" if guards else ""
        faults.append(ingress.fault(severity, "passthrough_ignores", message, hint, loc))
    return found


def pass_hosts(
    fragments: Iterable[Fragment],
    asking: Iterable[Fragment],
    hosts: dict[str, VirtualHost],
    before: Mapping[str, VirtualHost],
    faults: list[Fault],
) -> None:
    """Change the hosts whose oldest Ingress asks for it; those that stayed the same are of `before`.

    All fragments that ask are among `asking`.
    """
    wanted = {host for fragment in asking for host in fragment.passthrough}
    if not wanted:
        return
    for name, parts in _by_host(fragments, wanted).items():
        first = parts[0]
        listener = first.passthrough.get(name)
        if listener is not None and name in hosts:
            made = replace(hosts[name], passthrough=listener)
            known = before.get(name)
            hosts[name] = known if known is not None and known == made else made
        faults += (
            _taken(name, other.ingress, first.ingress, _loc_of(other.ingress))
            for other in parts[1:]
            if name in other.passthrough and other.passthrough[name] != listener
        )


def _by_host(fragments: Iterable[Fragment], wanted: set[str]) -> dict[str, list[Fragment]]:
    parts: dict[str, list[Fragment]] = {}
    for fragment in fragments:
        for part in fragment.hosts:
            if part.host in wanted and part.canary is None:
                parts.setdefault(part.host, []).append(fragment)
    return parts


def _listener(routes: Sequence[Placed], options: CompileOptions) -> StreamListener:
    pool = next((each.pool for each in routes if each.route.path == "/"), routes[0].pool)
    own = next((each for each in options.streams.own if each.flag == _HTTPS_PORT), None)
    return StreamListener(
        protocol=TCP,
        address=options.streams.address if own is None else own.address,
        port=(options.https_port or 0) if own is None else own.port,
        pool=pool.id,
        namespace=pool.namespace,
        service=pool.service,
        service_port=pool.port,
        role=SSL_PASSTHROUGH,
        connect_s=options.limits.connect_s,
        idle_s=options.streams.idle_s,
    )


def _loc_of(ingress: Resource[Ingress]) -> Loc:
    keys = [key for key in ingress.object.metadata.annotations if key.endswith(f"/{PASSTHROUGH}")]
    return ("metadata", "annotations", keys[0]) if keys else ("metadata", "name")


def _taken(host: str, ingress: Resource[Ingress], by: Resource[Ingress], loc: Loc) -> Fault:
    place = by.place("metadata", "name")
    message = f"what becomes of connections for {host} is for {by.key} at {place} to say: this is not used"
    hint = "write it on the oldest Ingress of the host"
    return ingress.fault(Severity.WARNING, "passthrough_conflict", message, hint, loc)
