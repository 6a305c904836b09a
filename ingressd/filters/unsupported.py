"""Annotations of ingress-nginx that ingressd does not follow: why, and what to do instead.

One that keeps somebody out closes its route: it is not served without it. The others are named in a warning.
"""

from __future__ import annotations

_FIREWALL = (
    "there is no ModSecurity: put such a firewall in front (--trusted-proxies), or write the rules that you need as a"
    " plug-in (ingressd.dev/filters)"
)
_GLOBAL_LIMIT = (
    "limit-rps and limit-rpm hold for all workers of one ingressd together; ingress-nginx 1.12 removed it, too"
)
_PACE = (
    "limit-rps and limit-connections bound what a client asks for; how fast a response goes out is the client's pace"
)
_TLS = "remove it: the policy is fixed, TLS 1.2 and 1.3, and for 1.2 ECDHE with AEAD only"
_TRACING = "fields such as traceparent pass unchanged, and X-Request-ID is made when there is none"

GUARDS: dict[str, str] = {
    "secure-verify-ca-secret": (
        "ingress-nginx 0.22 removed it: name the Secret in proxy-ssl-secret, and set proxy-ssl-verify to on"
    ),
}
"""Name -> what to do instead."""

LEFT_OUT: dict[str, str] = {
    "auth-snippet": (
        "it is nginx's configuration: auth-proxy-set-headers sets fields for the service, auth-response-headers takes"
        " its fields over"
    ),
    "configuration-snippet": (
        "it is nginx's configuration, and ingressd is no nginx: `ingressd migrate` reads it and proposes annotations"
    ),
    "enable-auth-log": "remove it: no request for auth-url is in the access log, the one of the client always is",
    "enable-global-auth": "remove it: there is no global-auth-url; each Ingress that needs one has its auth-url",
    "enable-modsecurity": _FIREWALL,
    "enable-opentelemetry": _TRACING,
    "enable-opentracing": _TRACING,
    "enable-owasp-core-rules": _FIREWALL,
    "global-rate-limit": _GLOBAL_LIMIT,
    "global-rate-limit-ignored-cidrs": _GLOBAL_LIMIT,
    "global-rate-limit-key": _GLOBAL_LIMIT,
    "global-rate-limit-window": _GLOBAL_LIMIT,
    "http2-push-preload": "remove it: browsers have given up HTTP/2 push; send `Link: ...; rel=preload` from the app",
    "limit-rate": _PACE,
    "limit-rate-after": _PACE,
    "modsecurity-snippet": _FIREWALL,
    "modsecurity-transaction-id": _FIREWALL,
    "opentelemetry-operation-name": _TRACING,
    "opentelemetry-trust-incoming-span": _TRACING,
    "opentracing-trust-incoming-span": _TRACING,
    "secure-backends": "ingress-nginx 0.21 removed it: use backend-protocol: HTTPS",
    "server-snippet": (
        "it is nginx's configuration for a whole host, and ingressd is no nginx: `ingressd migrate` reads it and"
        " proposes annotations, and Ingresses for its locations"
    ),
    "ssl-ciphers": _TLS,
    "ssl-prefer-server-ciphers": _TLS,
    "stream-snippet": "it is nginx's configuration: a Service of the type NodePort opens a port for TCP",
    "use-port-in-redirects": "--https-redirect-port says which port redirects to HTTPS name; 443 is left out of them",
}
"""Name -> what to do instead."""
