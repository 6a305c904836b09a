"""Rules: what one Ingress says becomes a Fragment: its routes by host, and the backends that they name.

In: one Ingress, the operator's decisions, which of its hosts have TLS. Out: a Fragment, which depends on nothing else,
so that it stays as it is whatever happens to other Ingresses. What they make of a host together is for hosts.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import quote

from ingressd.compile.certificates import TlsTable
from ingressd.compile.client_auth import ClientAuth, read_client_auth
from ingressd.compile.conditions import canary_of, condition_of
from ingressd.compile.expressions import regex_hosts, regex_route, regex_taken
from ingressd.compile.made import PoolName, operators_pool, pool_name
from ingressd.compile.options import CompileOptions
from ingressd.compile.passthrough import read_passthrough
from ingressd.compile.policies import Chain, Policy, read_policy, site_of
from ingressd.compile.references import References, Sought, holds
from ingressd.compile.series import Line, Series, Those
from ingressd.errors import Fault, LocalReply, Severity
from ingressd.http.target import canonicalise
from ingressd.model.ingress import Backend, Ingress, Path
from ingressd.model.kinds import Kind
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.shape import Loc
from ingressd.routing.conditions import All, Canary
from ingressd.routing.paths import prefix_key, takes
from ingressd.table.pool_variant import PLAIN, PoolVariant
from ingressd.table.route import ANY_HOST, DEFAULT, EXACT, PREFIX, REGEX, Route
from ingressd.table.stream import StreamListener

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
    pool: PoolName


@dataclass(frozen=True, slots=True, eq=False)
class HostPart:
    """What one Ingress says about one host, in the order in which it says it."""

    ingress: Resource[Ingress]
    host: str
    tls: bool
    placed: tuple[Placed, ...]
    default: Route | None
    condition: All | None = None
    """Which requests it takes; None = all."""
    canary: Canary | None = None
    """It takes a part of the requests of another Ingress."""
    variant: PoolVariant = PLAIN
    """How it wants its endpoints reached."""
    regex: Loc | None = None
    """Where it says that its paths are regular expressions."""
    aliases: tuple[str, ...] = ()
    """Further names of the host."""
    aliases_loc: Loc = ()
    www: Loc | None = None
    """Where it says that the host with `www.`, or without it, is sent to this one."""


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
    references: Mapping[Sought, Resource[Kind] | None]
    """What its annotations name."""
    client_auth: ClientAuth | None = None
    """What it asks of the clients of its hosts."""
    passthrough: Mapping[str, StreamListener] = field(default_factory=dict)
    """By host, where connections go that are passed on as they are."""

    def holds(self, tls: TlsTable) -> bool:
        """Whether it would be made the same again, with the same references."""
        return self.tls_anywhere == tls.has(ANY_HOST) and all(part.tls == tls.has(part.host) for part in self.hosts)

    @property
    def says_more(self) -> bool:
        """Whether it is about anything but the routes of its hosts. Most are not."""
        return bool(
            self.faults
            or self.references
            or self.passthrough
            or self.default is not None
            or self.client_auth is not None
            or any(part.aliases or part.www is not None for part in self.hosts)
        )


class Rules(NamedTuple):
    """What all Ingresses say, in their order."""

    fragments: Line[Fragment]
    further: tuple[Fragment, ...]
    """Those that say more than routes."""


class RuleMemory:
    """What the last run made, of the same options."""

    def __init__(self) -> None:
        self.fragments: Series[Resource[Ingress], Fragment] = Series()
        self.further: Those[Fragment] = Those(lambda fragment: fragment.says_more)
        self.tls_hosts: frozenset[str] = frozenset()
        """With TLS on these, all of the fragments hold."""


def read_rules(
    ingresses: Line[Resource[Ingress]],
    resources: ResourceSet,
    tls: TlsTable,
    options: CompileOptions,
    faults: list[Fault],
    memory: RuleMemory,
) -> Rules:
    """The Fragment of each."""
    stale = {each.ingress for each in memory.further.found if not holds(each.references, resources)}
    if memory.tls_hosts != tls.hosts:
        stale.update(each.ingress for each in memory.fragments.values if not each.holds(tls))
    fragments = memory.fragments.of(ingresses, lambda each: _RuleReader(each, resources, tls, options).read(), stale)
    memory.tls_hosts = frozenset(tls.hosts)
    further = memory.further.of(fragments)
    for fragment in further:
        faults += fragment.faults
    return Rules(fragments, further)


class _RuleReader:
    """Reads one Ingress."""

    def __init__(
        self, ingress: Resource[Ingress], resources: ResourceSet, tls: TlsTable, options: CompileOptions
    ) -> None:
        self._ingress = ingress
        self._tls = tls
        self._options = options
        self._faults: list[Fault] = []
        self._backends: dict[PoolName, tuple[Loc, ...]] = {}
        self._references = References(
            ingress,
            resources,
            self._needed,
            operators_pool(options.default_backend),
            cluster_domain=options.cluster_domain,
        )
        self._policy: Policy = read_policy(ingress, options, self._references, self._faults)
        self._chains: dict[tuple[str, ...], Chain] = {}
        """By host, or by host and path."""
        self._regex_hosts = regex_hosts(ingress, self._policy)
        self._client_auth = read_client_auth(self._policy, self._references, self._faults)

    def read(self) -> Fragment:
        spec = self._ingress.object.spec
        policy = self._policy
        condition, canary = condition_of(policy), canary_of(policy)
        some = condition is not None or canary is not None
        pool = None
        if spec.default_backend is not None and some:
            message = "the default backend of an Ingress that takes only some requests is not used"
            hint = "write it into an Ingress without conditions"
            fault = self._ingress.fault(Severity.WARNING, "default_backend_ignored", message, hint, DEFAULT_LOC)
            self._faults.append(fault)
        elif spec.default_backend is not None:
            pool = self._pool_of(spec.default_backend, DEFAULT_LOC)
        values = policy.values
        aliases: tuple[str, ...] = values.get("server-alias", ())
        www = policy.loc_of("from-to-www-redirect") if values.get("from-to-www-redirect") else None
        placed: dict[str, list[Placed]] = {}
        for index, rule in enumerate(spec.rules):
            of_host = placed.setdefault(rule.host, [])
            for number, path in enumerate(rule.http.paths if rule.http is not None else ()):
                of_host.append(self._placed(rule.host, path, ("spec", "rules", index, "http", "paths", number)))
        if "app-root" in values:
            for host, routes in placed.items():
                routes += self._app_root(host, routes)
        passthrough = read_passthrough(policy, placed, self._options, self._faults)
        return Fragment(
            ingress=self._ingress,
            hosts=tuple(
                HostPart(
                    self._ingress,
                    host,
                    self._tls.has(host),
                    tuple(routes),
                    self._default_route(host, pool),
                    condition,
                    canary,
                    policy.variant,
                    regex=self._regex_hosts.get(host),
                    aliases=aliases,
                    aliases_loc=policy.loc_of("server-alias"),
                    www=www,
                )
                for host, routes in placed.items()
            ),
            default=self._default_route(ANY_HOST, pool),
            tls_anywhere=self._tls.has(ANY_HOST),
            backends=self._backends,
            references=self._references.found,
            client_auth=self._client_auth,
            passthrough=passthrough,
            faults=tuple(dict.fromkeys(self._faults)),
        )

    def _needed(self, name: PoolName, annotation: str) -> None:
        """An annotation names a Pool."""
        loc: Loc = ("metadata", "annotations", self._policy.key_of(annotation))
        self._backends[name] = (*self._backends.get(name, ()), loc)

    def _pool_of(self, backend: Backend, loc: Loc) -> PoolName:
        """The Pool for the backend at `loc`."""
        name = pool_name(backend, self._ingress.namespace, self._policy.variant)
        if self._policy.canary:
            return name  # which of its pools it is depends on the Ingress that it belongs to: canaries.py
        unused = self._policy.tls_fault(name, self._references)
        if unused is not None:
            self._faults.append(unused)
        for each in name.with_twin:
            self._backends[each] = (*self._backends.get(each, ()), loc)
        return name

    def _placed(self, host: str, path: Path, loc: Loc) -> Placed:
        written = path.path or "/"
        pool = self._pool_of(path.backend, (*loc, "backend"))
        if host in self._regex_hosts:
            return self._regex(host, path, written, pool, loc)
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
        route = self._route(host, canonical, path.path_type or "", pool, loc)
        return Placed(route, (exact, canonical if exact else prefix_key(canonical)), loc, pool)

    def _regex(self, host: str, path: Path, written: str, pool: PoolName, loc: Loc) -> Placed:
        values = self._policy.values
        target = values.get("rewrite-target")
        plain = not values.get("use-regex", False) and (target is None or target.text == written)
        route = self._route(host, written, REGEX, pool, loc)
        split = plain and path.path_type == PREFIX
        route = regex_route(self._ingress, route, written, loc, split=split, faults=self._faults)
        return Placed(route, regex_taken(written), loc, pool)

    def _app_root(self, host: str, placed: Sequence[Placed]) -> list[Placed]:
        """A route for `/`, when no path of the Ingress takes that: its requests go no further than the redirect."""
        if not placed or any(takes(each.route, "/") for each in placed):
            return []
        loc, pool = self._policy.loc_of("app-root"), placed[0].pool
        return [Placed(self._route(host, "/", EXACT, pool, loc), (True, "/"), loc, pool)]

    def _default_route(self, host: str, pool: PoolName | None) -> Route | None:
        return None if pool is None else self._route(host, "/", DEFAULT, pool, DEFAULT_LOC)

    def _route(self, host: str, path: str, path_type: str, pool: PoolName, loc: Loc) -> Route:
        ingress = self._ingress
        chain = self._chain(host, path, path_type, pool)
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
            filters=chain.filters,
            response_filters=chain.response_filters,
            policy=self._policy.of_routes,
            denied=self._policy.denied or chain.denied,
        )

    def _chain(self, host: str, path: str, path_type: str, pool: PoolName) -> Chain:
        key = (host, path, path_type, pool.id) if self._policy.by_path else (host,)
        chain = self._chains.get(key)
        if chain is None:
            site = replace(
                site_of(host, tls=self._tls.has(host), options=self._options),
                namespace=self._ingress.namespace,
                ingress=self._ingress.name,
                path=path,
                path_type=path_type,
                regex=path_type == REGEX,
                pool=pool.id,
                nginx=self._policy.nginx,
                lookup=self._references,
            )
            chain = self._chains[key] = self._policy.chain(site, self._faults)
        return chain


def _encoded(path: str) -> str:
    """A rule's path as requests have it: a rule may say `/café`, a request says `/caf%C3%A9`."""
    return quote(path, safe=_AS_THEY_ARE)
