"""Extra hosts: names that no rule has, because an Ingress says server-alias or from-to-www-redirect.

In: the hosts that rules make, and the certificates. Out: more of both. A host with rules of its own is left alone; of
two Ingresses that want the same name the first one has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ingressd.compile.certificates import TlsTable, covers
from ingressd.compile.rules import Fragment, HostPart
from ingressd.errors import Fault, Severity
from ingressd.filters.www_redirect import WwwRedirect, sibling
from ingressd.model.shape import Loc
from ingressd.routing.paths import wildcard_of
from ingressd.table.route import ANY_HOST, PREFIX, Route, VirtualHost


class _Wish(NamedTuple):
    """A name that an Ingress wants beside the host of its rule."""

    name: str
    part: HostPart
    loc: Loc
    redirects: bool

    def fault(self, severity: Severity, code: str, message: str, hint: str = "") -> Fault:
        """A fault at the annotation."""
        return self.part.ingress.fault(severity, code, message, hint, self.loc)


def add_extra_hosts(
    fragments: Iterable[Fragment],
    hosts: dict[str, VirtualHost],
    before: Mapping[str, VirtualHost],
    tls: TlsTable,
    status: int,
    faults: list[Fault],
) -> None:
    """Put them into `hosts`, and their certificates into `tls`; those that stayed the same are of `before`.

    `status` is that of redirects.
    """
    given: dict[str, _Wish] = {}
    for wish in _wishes(fragments):
        # A host that has nothing to serve needs no further name, and could lead none of its requests anywhere.
        host = hosts.get(wish.part.host)
        if host is None or not (host.routes or host.default is not None):
            continue
        if wish.name in hosts:
            why = f"{wish.name} has rules of its own"
        else:
            first = given.setdefault(wish.name, wish)
            if first is wish or (first.part.host, first.redirects) == (wish.part.host, wish.redirects):
                continue
            why = f"{first.part.ingress.key} at {first.part.ingress.place(*first.loc)} has it already"
        what = "there is no redirect from it" if wish.redirects else "it is no alias"
        faults.append(wish.fault(Severity.INFO, "host_taken", f"{wish.name}: {what}, because {why}"))
    for name, wish in given.items():
        host = hosts[wish.part.host]
        made = _redirecting(wish, host, tls, status) if wish.redirects else _alias(name, host)
        known = before.get(name)
        hosts[name] = known if known == made else made
        if host.tls:
            _cover(wish, tls, faults)


def _wishes(fragments: Iterable[Fragment]) -> Iterator[_Wish]:
    # Aliases come first: what is redirected is what nobody has.
    parts = [part for fragment in fragments for part in fragment.hosts if part.aliases or part.www is not None]
    for part in parts:
        for name in part.aliases:
            if name != part.host and part.host != ANY_HOST:
                yield _Wish(name, part, part.aliases_loc, redirects=False)
    for part in parts:
        if part.www is not None and part.host != ANY_HOST and "*" not in part.host:
            yield _Wish(sibling(part.host), part, part.www, redirects=True)


def _alias(name: str, host: VirtualHost) -> VirtualHost:
    default = None if host.default is None else _moved(host.default, name)
    routes = tuple(_moved(route, name) for route in host.routes)
    return replace(host, name=name, routes=routes, default=default)


def _moved(route: Route, name: str) -> Route:
    words = route.id.split(" ")
    words[words.index(route.host)] = name
    return replace(
        route,
        id=" ".join(words),
        host=name,
        alternatives=tuple(replace(each, route=_moved(each.route, name)) for each in route.alternatives),
    )


def _redirecting(wish: _Wish, host: VirtualHost, tls: TlsTable, status: int) -> VirtualHost:
    """A host whose one route sends everything to `host`. It names a Service that no request gets to."""
    ingress = wish.part.ingress
    some = host.routes[0] if host.routes else host.default
    assert some is not None
    route = Route(
        id=f"{ingress.namespace}/{ingress.name} {wish.name} / {PREFIX}",
        host=wish.name,
        path="/",
        path_type=PREFIX,
        namespace=ingress.namespace,
        ingress=ingress.name,
        pool=some.pool,
        service=some.service,
        port=some.port,
        file=ingress.file,
        line=ingress.position(*wish.loc).line,
        filters=(WwwRedirect(host.name, status),),
        policy=some.policy,
    )
    return VirtualHost(wish.name, (route,), tls=tls.has(wish.name) or host.tls)


def _cover(wish: _Wish, tls: TlsTable, faults: list[Fault]) -> None:
    """Serve the certificate of the host under the other name, too, if it is for both."""
    host, name = wish.part.host, wish.name
    certificates = tls.certificates
    if name in certificates or wildcard_of(name) in certificates:
        return
    certificate = certificates.get(host) or certificates.get(wildcard_of(host))
    if certificate is None:
        return
    if covers(certificate, name):
        certificates[name] = certificate
        return
    message = f"the certificate of {host}, from {certificate.origin}, is not for {name}: browsers will refuse it there"
    hint = f"make one that has {name} among its subjectAltNames, too"
    faults.append(wish.fault(Severity.WARNING, "extra_host_certificate", message, hint))
