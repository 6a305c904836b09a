"""Rules: what one Ingress says becomes a Fragment: its routes by host, and the backends that they name.

In: one Ingress, the operator's decisions, which of its hosts have TLS. Out: a Fragment, which depends on nothing else,
so that it stays as it is whatever happens to other Ingresses. What they make of a host together is for hosts.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from ingressd.compile.certificates import TlsTable
from ingressd.compile.kept import Kept
from ingressd.compile.made import PoolName, pool_name
from ingressd.compile.options import CompileOptions
from ingressd.compile.policies import Policy, read_policy, site_of
from ingressd.errors import Fault, LocalReply, Severity
from ingressd.filters.base import Filter
from ingressd.http.target import canonicalise
from ingressd.model.ingress import Backend, Ingress, Path
from ingressd.model.resource import Resource
from ingressd.model.shape import Loc
from ingressd.routing.paths import prefix_key
from ingressd.table.route import ANY_HOST, DEFAULT, EXACT, Route

DEFAULT_LOC: Loc = ("spec", "defaultBackend")

_AS_THEY_ARE = "/!$&'()*+,;=:@-._~%[]{}|^\\\"<>`"
"""What requests may have in a path: everything else of a rule's path is percent-encoded, as clients do it."""

Taken = tuple[bool, str]
"""Exact or not, and the requests: two routes of a host with the same one take the same requests."""


class Placed(NamedTuple):
    """A route, what it takes, and where it is written."""

    route: Route
    taken: Taken
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class HostPart:
    """What one Ingress says about one host, in the order in which it says it."""

    ingress: Resource[Ingress]
    host: str
    tls: bool
    placed: tuple[Placed, ...]
    default: Route | None


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """What one Ingress makes."""

    ingress: Resource[Ingress]
    hosts: tuple[HostPart, ...]
    default: Route | None
    """For requests that no host takes."""
    tls_anywhere: bool
    """Whether ANY_HOST has TLS: `default` was made for that."""
    backends: Mapping[PoolName, tuple[Loc, ...]]
    """The pools it needs, and where it names them."""
    faults: tuple[Fault, ...]

    def holds(self, tls: TlsTable) -> bool:
        """Whether it would be made the same again."""
        return self.tls_anywhere == tls.has(ANY_HOST) and all(part.tls == tls.has(part.host) for part in self.hosts)


class RuleMemory:
    """What the last run made, of the same options."""

    def __init__(self) -> None:
        self.fragments: Kept[Resource[Ingress], Fragment] = Kept()
        self.tls_hosts: frozenset[str] = frozenset()
        """With TLS on these, all of the fragments hold."""

    def turn(self) -> None:
        """A run begins."""
        self.fragments.turn()


def read_rules(
    ingresses: Iterable[Resource[Ingress]],
    tls: TlsTable,
    options: CompileOptions,
    faults: list[Fault],
    memory: RuleMemory,
) -> list[Fragment]:
    """The Fragment of each, in the same order."""
    fragments: list[Fragment] = []
    same_tls = memory.tls_hosts == tls.hosts
    memory.tls_hosts = frozenset(tls.hosts)
    for ingress in ingresses:
        fragment = memory.fragments.before(ingress)
        if fragment is None or not (same_tls or fragment.holds(tls)):
            fragment = _RuleReader(ingress, tls, options).read()
        fragments.append(memory.fragments.keep(ingress, fragment))
        faults += fragment.faults
    return fragments


class _RuleReader:
    """Reads one Ingress."""

    def __init__(self, ingress: Resource[Ingress], tls: TlsTable, options: CompileOptions) -> None:
        self._ingress = ingress
        self._tls = tls
        self._options = options
        self._faults: list[Fault] = []
        self._policy: Policy = read_policy(ingress, self._faults)
        self._backends: dict[PoolName, tuple[Loc, ...]] = {}
        self._filters: dict[str, tuple[Filter, ...]] = {}
        """By host."""

    def read(self) -> Fragment:
        spec = self._ingress.object.spec
        pool = None if spec.default_backend is None else self._pool_of(spec.default_backend, DEFAULT_LOC)
        placed: dict[str, list[Placed]] = {}
        for index, rule in enumerate(spec.rules):
            of_host = placed.setdefault(rule.host, [])
            for number, path in enumerate(rule.http.paths if rule.http is not None else ()):
                of_host.append(self._placed(rule.host, path, ("spec", "rules", index, "http", "paths", number)))
        return Fragment(
            ingress=self._ingress,
            hosts=tuple(
                HostPart(self._ingress, host, self._tls.has(host), tuple(routes), self._default_route(host, pool))
                for host, routes in placed.items()
            ),
            default=self._default_route(ANY_HOST, pool),
            tls_anywhere=self._tls.has(ANY_HOST),
            backends=self._backends,
            faults=tuple(self._faults),
        )

    def _pool_of(self, backend: Backend, loc: Loc) -> PoolName:
        """The Pool for the backend at `loc`."""
        name = pool_name(backend, self._ingress.namespace)
        self._backends[name] = (*self._backends.get(name, ()), loc)
        return name

    def _placed(self, host: str, path: Path, loc: Loc) -> Placed:
        written = path.path or "/"
        try:
            canonical, _ = canonicalise(_encoded(written))
        except LocalReply:
            canonical = written
            self._faults.append(
                self._ingress.fault(
                    Severity.WARNING,
                    "path_never_matches",
                    f"no request can have the path {written}",
                    "write it as a request has it, beginning with `/`",
                    (*loc, "path"),
                )
            )
        exact = path.path_type == EXACT
        pool = self._pool_of(path.backend, (*loc, "backend"))
        route = self._route(host, canonical, path.path_type or "", pool, loc)
        return Placed(route, (exact, canonical if exact else prefix_key(canonical)), loc)

    def _default_route(self, host: str, pool: PoolName | None) -> Route | None:
        return None if pool is None else self._route(host, "/", DEFAULT, pool, DEFAULT_LOC)

    def _route(self, host: str, path: str, path_type: str, pool: PoolName, loc: Loc) -> Route:
        ingress = self._ingress
        return Route(
            id=f"{ingress.namespace}/{ingress.name} {host or '*'} {path} {path_type}",
            host=host,
            path=path,
            path_type=path_type,
            namespace=ingress.namespace,
            ingress=ingress.name,
            pool=pool.id,
            service=pool.service,
            port=pool.port,
            file=ingress.file,
            line=ingress.position(*loc).line,
            filters=self._chain(host),
            denied=self._policy.denied,
        )

    def _chain(self, host: str) -> tuple[Filter, ...]:
        chain = self._filters.get(host)
        if chain is None:
            site = site_of(host, tls=self._tls.has(host), options=self._options)
            chain = self._filters[host] = self._policy.filters(site)
        return chain


def _encoded(path: str) -> str:
    """A rule's path as requests have it: a rule may say `/café`, a request says `/caf%C3%A9`."""
    return quote(path, safe=_AS_THEY_ARE)
