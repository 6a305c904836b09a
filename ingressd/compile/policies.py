"""Policies: the annotations of an Ingress become the filters of its routes.

In: annotations as written. Out: parsed values by name, and why requests must be denied, if they must. An annotation
that guards a route and cannot be honoured closes it: 503 policy_invalid, never open.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ingressd.compile.options import CompileOptions
from ingressd.errors import Fault, Severity
from ingressd.filters.base import Filter, Site, boolean
from ingressd.filters.registry import ANNOTATIONS, CHAIN
from ingressd.filters.ssl_redirect import HTTPS_PORT
from ingressd.model.ingress import Ingress
from ingressd.model.resource import Resource

OURS = "ingressd.dev/"
NGINX = "nginx.ingress.kubernetes.io/"
PREFIXES = (OURS, NGINX)
"""Both mean the same; the first wins when both are set."""

GUARDS = frozenset(
    {
        "auth-secret",
        "auth-tls-match-cn",
        "auth-tls-secret",
        "auth-tls-verify-client",
        "auth-type",
        "auth-url",
        "allowlist-source-range",
        "denylist-source-range",
        "satisfy",
        "whitelist-source-range",
    }
)
"""ingress-nginx's annotations that keep somebody out: a route that has one is not served without it."""

NOT_BUILT = frozenset(
    """
    affinity affinity-canary-behavior affinity-mode app-root auth-always-set-cookie auth-cache-duration
    auth-cache-key auth-keepalive auth-keepalive-requests auth-keepalive-share-vars auth-keepalive-timeout
    auth-method auth-proxy-set-headers auth-realm auth-response-headers auth-secret-type auth-signin
    auth-signin-redirect-param auth-snippet auth-tls-error-page auth-tls-pass-certificate-to-upstream
    auth-tls-verify-depth backend-protocol canary canary-by-cookie canary-by-header canary-by-header-pattern
    canary-by-header-value canary-weight canary-weight-total client-body-buffer-size configuration-snippet
    connection-proxy-header cors-allow-credentials cors-allow-headers cors-allow-methods cors-allow-origin
    cors-expose-headers cors-max-age custom-headers custom-http-errors default-backend
    disable-proxy-intercept-errors enable-access-log enable-auth-log enable-cors enable-global-auth
    enable-modsecurity enable-opentelemetry enable-owasp-core-rules enable-rewrite-log from-to-www-redirect
    limit-allowlist limit-burst-multiplier limit-connections limit-rate limit-rate-after limit-rpm limit-rps
    limit-whitelist load-balance mirror-host mirror-request-body mirror-target modsecurity-snippet
    modsecurity-transaction-id opentelemetry-trust-incoming-span permanent-redirect permanent-redirect-code
    preserve-trailing-slash proxy-body-size proxy-buffer-size proxy-buffering proxy-buffers-number
    proxy-busy-buffers-size proxy-connect-timeout proxy-cookie-domain proxy-cookie-path proxy-http-version
    proxy-max-temp-file-size proxy-next-upstream proxy-next-upstream-timeout proxy-next-upstream-tries
    proxy-read-timeout proxy-redirect-from proxy-redirect-to proxy-request-buffering proxy-send-timeout
    proxy-ssl-ciphers proxy-ssl-name proxy-ssl-protocols proxy-ssl-secret proxy-ssl-server-name proxy-ssl-verify
    proxy-ssl-verify-depth relative-redirects rewrite-target server-alias server-snippet service-upstream
    session-cookie-change-on-failure session-cookie-conditional-samesite-none session-cookie-domain
    session-cookie-expires session-cookie-max-age session-cookie-name session-cookie-partitioned session-cookie-path
    session-cookie-samesite session-cookie-secure ssl-ciphers ssl-passthrough ssl-prefer-server-ciphers
    stream-snippet temporal-redirect temporal-redirect-code upstream-hash-by upstream-hash-by-subset
    upstream-hash-by-subset-size upstream-vhost use-regex x-forwarded-prefix
    """.split()  # noqa: SIM905 - a hundred lines of quotes say no more
)
"""ingress-nginx's other annotations, which change what a route does but open nothing when they are left out."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the annotations of one Ingress say."""

    values: Mapping[str, Any]
    """By name without prefix."""
    denied: str = ""

    def filters(self, site: Site) -> tuple[Filter, ...]:
        """The chain of a route at `site`."""
        built = (spec.build(self.values, site) for spec in CHAIN)
        return tuple(each for each in built if each is not None)


def read_policy(ingress: Resource[Ingress], faults: list[Fault]) -> Policy:
    """Parse the annotations of an Ingress; what is wrong with them goes to `faults`."""
    values: dict[str, Any] = {}
    denied = ""
    # The prefix that wins comes last.
    written = sorted(ingress.object.metadata.annotations.items(), key=lambda item: item[0].startswith(OURS))
    for key, text in written:
        prefix, slash, name = key.partition("/")
        if f"{prefix}{slash}" not in PREFIXES:
            continue
        annotation = ANNOTATIONS.get(name)
        if annotation is not None:
            try:
                values[name] = annotation.parse(text)
            except ValueError as problem:
                message = f'{key}: "{text}" must be {problem}; it is left out'
                faults.append(_fault(ingress, Severity.ERROR, "annotation_invalid", key, message))
        elif name in GUARDS:
            denied = denied or f"{key} is not supported: the route is closed rather than left open"
            message = f"{key} is not supported yet: this Ingress answers 503 rather than being open to everybody"
            faults.append(_fault(ingress, Severity.ERROR, "annotation_guard_unsupported", key, message))
        elif name in NOT_BUILT:
            message = f"{key} is not supported yet: it is left out"
            faults.append(_fault(ingress, Severity.WARNING, "annotation_unsupported", key, message))
        else:
            near = get_close_matches(name, [*ANNOTATIONS, *GUARDS, *NOT_BUILT], n=1)
            hint = f"did you mean {prefix}/{near[0]}?" if near else "remove it"
            message = f"{key}: there is no such annotation"
            faults.append(_fault(ingress, Severity.WARNING, "annotation_unknown", key, message, hint))
    return Policy(values, denied)


def canary_annotation(ingress: Resource[Ingress]) -> str:
    """The annotation that makes it a canary of another Ingress; empty = it is none."""
    for prefix in PREFIXES:
        key = f"{prefix}canary"
        text = ingress.object.metadata.annotations.get(key)
        with suppress(ValueError):
            if text is not None:
                return key if boolean(text) else ""
    return ""


def site_of(host: str, *, tls: bool, options: CompileOptions) -> Site:
    """Where the filters of a host's routes work."""
    # Without a port of ours, HTTPS ends in front of us, where clients expect it.
    port = options.https_redirect_port or options.https_port or HTTPS_PORT
    return Site(host, tls, options.https_port is not None, port)


def _fault(ingress: Resource[Ingress], severity: Severity, code: str, key: str, message: str, hint: str = "") -> Fault:
    return ingress.fault(severity, code, message, hint, ("metadata", "annotations", key))
