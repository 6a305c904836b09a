"""Rules: the rules of all Ingresses become virtual hosts, whose routes are in their order of precedence.

In: Ingresses in their total order. Out: VirtualHosts and the default route. Of two rules that take the same requests
the first wins, and the other is named in a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

from ingressd.compile.certificates import TlsTable
from ingressd.compile.options import CompileOptions
from ingressd.compile.policies import Policy, read_policy, site_of
from ingressd.compile.pools import PoolCompiler
from ingressd.errors import Fault, LocalReply, Severity
from ingressd.filters.base import Filter
from ingressd.http.target import canonicalise
from ingressd.model.ingress import Backend, Ingress, Path, Rule
from ingressd.model.resource import Key, Resource
from ingressd.model.shape import Loc
from ingressd.routing.paths import prefix_key
from ingressd.table.pool import Pool
from ingressd.table.route import ANY_HOST, DEFAULT, EXACT, Route, VirtualHost

_AS_THEY_ARE = "/!$&'()*+,;=:@-._~%[]{}|^\\\"<>`"
"""What requests may have in a path: everything else of a rule's path is percent-encoded, as clients do it."""

Taken = tuple[bool, str]
"""Exact or not, and the requests: two routes of a host with the same one take the same requests."""


class _Placed(NamedTuple):
    """A route, and where it is written."""

    route: Route
    ingress: Resource[Ingress]
    loc: Loc


class _Host:
    """One host while its rules come in."""

    def __init__(self) -> None:
        self.routes: dict[Taken, _Placed] = {}
        self.default: Route | None = None
        self.default_by: Resource[Ingress] | None = None


class RuleCompiler:
    """Takes the Ingresses one after the other."""

    def __init__(self, pools: PoolCompiler, tls: TlsTable, options: CompileOptions, faults: list[Fault]) -> None:
        self._pools = pools
        self._tls = tls
        self._options = options
        self._faults = faults
        self._hosts: dict[str, _Host] = {}
        self._filters: dict[tuple[Key, str], tuple[Filter, ...]] = {}
        self._all: list[tuple[Resource[Ingress], Route]] = []
        """Defaults of Ingresses without rules: meant for everything."""
        self._rest: list[tuple[Resource[Ingress], Route]] = []
        """Defaults of Ingresses that have rules of their own."""

    def take(self, ingresses: Iterable[Resource[Ingress]]) -> None:
        """All rules and default backends."""
        for ingress in ingresses:
            policy = read_policy(ingress, self._faults)
            spec = ingress.object.spec
            default: Pool | None = None
            if spec.default_backend is not None:
                loc: Loc = ("spec", "defaultBackend")
                default = self._pools.pool_of(spec.default_backend, ingress, loc)
                route = self._default_route(ingress, policy, ANY_HOST, default)
                (self._rest if spec.rules else self._all).append((ingress, route))
            for index, rule in enumerate(spec.rules):
                self._take_rule(ingress, policy, rule, ("spec", "rules", index), default)

    def finish(self, before: Mapping[str, VirtualHost]) -> tuple[dict[str, VirtualHost], Route | None]:
        """The hosts (those that stayed the same are the very objects of `before`) and what takes everything else."""
        hosts: dict[str, VirtualHost] = {}
        for name, host in self._hosts.items():
            routes = sorted(
                (placed.route for placed in host.routes.values()),
                key=lambda route: (route.path_type != EXACT, -len(route.path), route.path),
            )
            made = VirtualHost(name, tuple(routes), host.default, self._tls.has(name))
            known = before.get(name)
            hosts[name] = known if known is not None and known == made else made
        return hosts, self._last()

    def _take_rule(
        self, ingress: Resource[Ingress], policy: Policy, rule: Rule, loc: Loc, default: Pool | None
    ) -> None:
        host = self._hosts.setdefault(rule.host, _Host())
        if default is not None and host.default_by is not ingress:
            self._take_default(ingress, policy, rule.host, host, default)
        for index, path in enumerate(rule.http.paths if rule.http is not None else ()):
            self._take_path(ingress, policy, rule.host, host, path, (*loc, "http", "paths", index))

    def _take_default(self, ingress: Resource[Ingress], policy: Policy, name: str, host: _Host, pool: Pool) -> None:
        if host.default_by is None:
            host.default = self._default_route(ingress, policy, name, pool)
            host.default_by = ingress
            return
        loc: Loc = ("spec", "defaultBackend")
        winner = host.default_by
        self._conflict(
            ingress,
            loc,
            f"the default backend of {name or 'all hosts'} is that of {winner.key} ({winner.place(*loc)}) already",
        )

    def _take_path(
        self, ingress: Resource[Ingress], policy: Policy, name: str, host: _Host, path: Path, loc: Loc
    ) -> None:
        written = path.path or "/"
        try:
            canonical, _ = canonicalise(_encoded(written))
        except LocalReply:
            canonical = written
            self._faults.append(
                ingress.fault(
                    Severity.WARNING,
                    "path_never_matches",
                    f"no request can have the path {written}",
                    "write it as a request has it, beginning with `/`",
                    (*loc, "path"),
                )
            )
        exact = path.path_type == EXACT
        taken = (exact, canonical if exact else prefix_key(canonical))
        route = self._route(ingress, policy, name, canonical, path.path_type or "", path.backend, loc)
        made = _Placed(route, ingress, loc)
        known = host.routes.setdefault(taken, made)
        if known is made:
            return
        # `/foo/` and `/foo` take the same requests, and the longer one wins; else the first does.
        winner, loser = (made, known) if len(route.path) > len(known.route.path) else (known, made)
        host.routes[taken] = winner
        self._conflict(
            loser.ingress,
            loser.loc,
            f"{name or '*'}{loser.route.path} ({loser.route.path_type}) never gets a request:"
            f" {winner.route.path} ({winner.route.path_type}) of {winner.ingress.key}"
            f" at {winner.ingress.place(*winner.loc)} takes them all",
        )

    def _conflict(self, loser: Resource[Ingress], loc: Loc, message: str) -> None:
        hint = "remove one of them; the older Ingress wins, then namespace and name decide"
        self._faults.append(loser.fault(Severity.WARNING, "rule_shadowed", message, hint, loc))

    def _route(
        self,
        ingress: Resource[Ingress],
        policy: Policy,
        host: str,
        path: str,
        path_type: str,
        backend: Backend,
        loc: Loc,
    ) -> Route:
        pool = self._pools.pool_of(backend, ingress, (*loc, "backend"))
        return self._made(ingress, policy, host, path, path_type, pool, ingress.position(*loc).line)

    def _default_route(self, ingress: Resource[Ingress], policy: Policy, host: str, pool: Pool) -> Route:
        line = ingress.position("spec", "defaultBackend").line
        return self._made(ingress, policy, host, "/", DEFAULT, pool, line)

    def _made(
        self,
        ingress: Resource[Ingress],
        policy: Policy,
        host: str,
        path: str,
        path_type: str,
        pool: Pool,
        line: int,
    ) -> Route:
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
            line=line,
            filters=self._chain(ingress, policy, host),
            denied=policy.denied,
        )

    def _chain(self, ingress: Resource[Ingress], policy: Policy, host: str) -> tuple[Filter, ...]:
        key = (ingress.key, host)
        chain = self._filters.get(key)
        if chain is None:
            site = site_of(host, tls=self._tls.has(host), options=self._options)
            chain = self._filters[key] = policy.filters(site)
        return chain

    def _last(self) -> Route | None:
        """What takes requests that no host takes: an Ingress for everything, else one with rules, else the setting."""
        candidates = [*self._all, *self._rest]
        if not candidates:
            return self._operators_own()
        by, winner = candidates[0]
        loc: Loc = ("spec", "defaultBackend")
        message = f"unknown hosts go to the default backend of {by.key} ({by.place(*loc)}), not to this one"
        for ingress, _ in candidates[1:]:
            if ingress.object.spec.rules:
                self._faults.append(ingress.fault(Severity.INFO, "default_for_own_hosts", message, loc=loc))
            else:
                self._conflict(ingress, loc, message)
        return winner

    def _operators_own(self) -> Route | None:
        """--default-backend NAMESPACE/SERVICE:PORT; its form was checked when it was read."""
        written = self._options.default_backend
        if not written:
            return None
        namespace, _, rest = written.partition("/")
        name, _, port = rest.partition(":")
        pool = self._pools.service_pool(namespace, name, port, None, (), "--default-backend")
        return Route(
            id=f"--default-backend * / {DEFAULT}",
            host=ANY_HOST,
            path="/",
            path_type=DEFAULT,
            namespace=namespace,
            ingress="",
            pool=pool.id,
            service=name,
            port=port,
            file="--default-backend",
            line=0,
        )


def _encoded(path: str) -> str:
    """A rule's path as requests have it: a rule may say `/café`, a request says `/caf%C3%A9`."""
    return quote(path, safe=_AS_THEY_ARE)
