"""The filters, in the order in which they run. Adding one is adding its file and its line here."""

from __future__ import annotations

from ingressd.filters import (
    access_log,
    app_root,
    basic_auth,
    canary,
    compression,
    cors,
    custom_errors,
    custom_headers,
    external_auth,
    fault_injection,
    header_changes,
    hsts,
    ip_lists,
    jwt,
    limits,
    load_balance,
    maintenance,
    match,
    mirror,
    next_upstream,
    plugins,
    proxy_cookie,
    proxy_redirect,
    proxy_timeouts,
    redirects,
    request_body,
    response_buffers,
    rewrite,
    satisfy,
    server_alias,
    session_cookie,
    ssl_redirect,
    upstream_hash,
    upstream_vhost,
    www_redirect,
)
from ingressd.filters.base import Annotation, FilterSpec

CHAIN: tuple[FilterSpec, ...] = (
    maintenance.SPEC,
    server_alias.SPEC,
    www_redirect.SPEC,
    app_root.SPEC,
    redirects.SPEC,
    cors.SPEC,
    rewrite.SPEC,
    ssl_redirect.SPEC,
    limits.SPEC,
    satisfy.SPEC,
    ip_lists.SPEC,
    basic_auth.SPEC,
    external_auth.SPEC,
    jwt.SPEC,
    plugins.SPEC,
    fault_injection.SPEC,
    mirror.SPEC,
    upstream_vhost.SPEC,
    header_changes.REQUESTS,
    match.SPEC,
    canary.SPEC,
    load_balance.SPEC,
    session_cookie.SPEC,
    upstream_hash.SPEC,
    custom_errors.SPEC,
    proxy_redirect.SPEC,
    proxy_cookie.SPEC,
    custom_headers.SPEC,
    header_changes.RESPONSES,
    hsts.SPEC,
    compression.SPEC,
    access_log.SPEC,
    next_upstream.SPEC,
    proxy_timeouts.SPEC,
    request_body.SPEC,
    response_buffers.SPEC,
)  # fmt: skip
"""Order: ingress-nginx's phases (redirects, then limits, then access, then authentication)."""

ANNOTATIONS: dict[str, Annotation] = {annotation.name: annotation for spec in CHAIN for annotation in spec.annotations}
"""Every annotation that a filter reads, by name without prefix."""

SPEC_OF: dict[str, FilterSpec] = {annotation.name: spec for spec in CHAIN for annotation in spec.annotations}
"""Who reads it."""
