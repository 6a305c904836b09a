"""Client auth: which hosts ask their clients for certificates, and the filter that all routes of them get.

In: what each Ingress asks for, and the hosts that all Ingresses make. Out: hosts whose every route is guarded, those of
other Ingresses and the one of last resort with them. What cannot be honoured closes the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ingressd.compile.policies import Policy
from ingressd.compile.references import References
from ingressd.errors import Fault, Severity
from ingressd.filters.auth_tls import GUARDS, AuthTls, client_auth
from ingressd.filters.base import Unusable
from ingressd.filters.maintenance import Maintenance
from ingressd.filters.ssl_redirect import SslRedirect
from ingressd.model.shape import Loc
from ingressd.table.route import Route, VirtualHost

if TYPE_CHECKING:
    from ingressd.compile.rules import Fragment


class ClientAuth(NamedTuple):
    """What one Ingress asks of the clients of its hosts."""

    guard: AuthTls | None
    denied: str
    """Why it cannot be asked for: then its hosts are closed."""
    loc: Loc

    @property
    def meaning(self) -> tuple[object, ...]:
        """Equal for those that ask for the same."""
        return self.guard, bool(self.denied)


def read_client_auth(policy: Policy, references: References, faults: list[Fault]) -> ClientAuth | None:
    """None: it asks for nothing. What is wrong goes to `faults`, if that has not been said already."""
    unread = sorted(policy.unread & GUARDS)
    if unread:
        return ClientAuth(None, f"{unread[0]} of Ingress {policy.ingress.key} is invalid", ())
    try:
        guard = client_auth(policy.values, references)
    except Unusable as problem:
        key, loc = policy.key_of(problem.annotation), policy.loc_of(problem.annotation)
        message = f"{key}: {problem}; until then all routes of its hosts answer 503"
        faults.append(policy.ingress.fault(Severity.ERROR, "annotation_unusable", message, problem.hint, loc))
        return ClientAuth(None, f"{key}: {problem}", loc)
    return None if guard is None else ClientAuth(guard, "", policy.loc_of("auth-tls-secret"))


def guard_hosts(
    fragments: Iterable[Fragment],
    hosts: dict[str, VirtualHost],
    default: Route | None,
    before: Mapping[str, VirtualHost],
    faults: list[Fault],
) -> Route | None:
    """Change the hosts of which an Ingress asks for it; those that stayed the same are of `before`.

    Returns the route of last resort, which is guarded as its Ingress says.
    """
    deciding: dict[str, Fragment] = {}
    last = default
    for fragment in fragments:
        auth = fragment.client_auth
        if auth is None:
            continue
        if default is not None and fragment.default is default:
            last = _guarded(auth)(default)
        for part in fragment.hosts:
            if part.host not in hosts:
                continue
            first = deciding.setdefault(part.host, fragment)
            assert first.client_auth is not None
            if first.client_auth.meaning != auth.meaning:
                faults.append(_conflict(part.host, fragment, auth, first))
    for name, fragment in deciding.items():
        assert fragment.client_auth is not None
        made = _host(hosts[name], fragment.client_auth, last)
        known = before.get(name)
        hosts[name] = known if known is not None and known == made else made
    return last


def _host(host: VirtualHost, auth: ClientAuth, last: Route | None) -> VirtualHost:
    guarded = _guarded(auth)
    default = host.default
    if default is None and last is not None:
        # Whoever asks this host for a path that no rule has must be known, too.
        default = replace(last, id=last.id.replace(" * ", f" {host.name or '*'} "), host=host.name)
    return replace(
        host,
        routes=tuple(guarded(route) for route in host.routes),
        default=None if default is None else guarded(default),
        client_trust=None if auth.guard is None else auth.guard.trust,
    )


def _guarded(auth: ClientAuth) -> Callable[[Route], Route]:
    """What makes a guarded route of an open one."""

    def guarded(route: Route) -> Route:
        alternatives = tuple(replace(each, route=guarded(each.route)) for each in route.alternatives)
        if auth.guard is None:
            return replace(route, alternatives=alternatives, denied=route.denied or auth.denied)
        redirect = next((each for each in route.filters if isinstance(each, SslRedirect)), None)
        first = sum(isinstance(each, Maintenance) for each in route.filters)
        own = replace(auth.guard, redirect=redirect)
        filters = (*route.filters[:first], own, *route.filters[first:])
        return replace(route, alternatives=alternatives, filters=filters)

    return guarded


def _conflict(host: str, fragment: Fragment, auth: ClientAuth, first: Fragment) -> Fault:
    assert first.client_auth is not None
    by = first.ingress
    place = by.place(*first.client_auth.loc)
    message = f"what clients of {host or 'all hosts'} must show is for {by.key} at {place} to say: this is not used"
    hint = "write the same auth-tls-* annotations on all Ingresses of a host, or on one of them"
    return fragment.ingress.fault(Severity.WARNING, "client_auth_conflict", message, hint, auth.loc)
