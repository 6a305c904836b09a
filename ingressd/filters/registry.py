"""The filters, in the order in which they run. Adding one is adding its file and its line here."""

from __future__ import annotations

from ingressd.filters import ssl_redirect
from ingressd.filters.base import Annotation, FilterSpec

CHAIN: tuple[FilterSpec, ...] = (ssl_redirect.SPEC,)
"""Order: ingress-nginx's phases (redirects, then limits, then access, then authentication)."""

ANNOTATIONS: dict[str, Annotation] = {annotation.name: annotation for spec in CHAIN for annotation in spec.annotations}
"""Every annotation that a filter reads, by name without prefix."""
