"""Annotations of ingress-nginx that ingressd does not follow: why, and what to do instead.

One that keeps somebody out closes its route: it is not served without it. The others are named in a warning.
"""

from __future__ import annotations

GUARDS: dict[str, str] = dict.fromkeys(
    (
        "auth-tls-match-cn",
        "auth-tls-secret",
        "auth-tls-verify-client",
    ),
    "",
)
"""Name -> what to do instead."""

LEFT_OUT: dict[str, str] = dict.fromkeys(
    (
        "auth-snippet",
        "auth-tls-error-page",
        "auth-tls-pass-certificate-to-upstream",
        "auth-tls-verify-depth",
        "backend-protocol",
        "configuration-snippet",
        "enable-auth-log",
        "enable-global-auth",
        "enable-modsecurity",
        "enable-opentelemetry",
        "enable-owasp-core-rules",
        "limit-rate",
        "limit-rate-after",
        "modsecurity-snippet",
        "modsecurity-transaction-id",
        "opentelemetry-trust-incoming-span",
        "proxy-ssl-ciphers",
        "proxy-ssl-name",
        "proxy-ssl-protocols",
        "proxy-ssl-secret",
        "proxy-ssl-server-name",
        "proxy-ssl-verify",
        "proxy-ssl-verify-depth",
        "server-snippet",
        "ssl-ciphers",
        "ssl-passthrough",
        "ssl-prefer-server-ciphers",
        "stream-snippet",
    ),
    "",
) | {"auth-snippet": "use auth-proxy-set-headers and auth-response-headers"}
"""Name -> what to do instead."""
