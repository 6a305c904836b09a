"""The kinds that are read, those that are passed over in silence, and the old forms of those that are read."""

from __future__ import annotations

from ingressd.model.config_map import ConfigMap
from ingressd.model.endpoint_slice import EndpointSlice
from ingressd.model.endpoints import Endpoints
from ingressd.model.ingress import Ingress
from ingressd.model.ingress_class import IngressClass
from ingressd.model.secret import Secret
from ingressd.model.service import Service

Kind = Ingress | IngressClass | Service | Secret | ConfigMap | EndpointSlice | Endpoints
"""What a Resource holds."""

KINDS: dict[tuple[str, str], type[Kind]] = {
    ("networking.k8s.io/v1", "Ingress"): Ingress,
    ("networking.k8s.io/v1", "IngressClass"): IngressClass,
    ("v1", "Service"): Service,
    ("v1", "Secret"): Secret,
    ("v1", "ConfigMap"): ConfigMap,
    ("v1", "Endpoints"): Endpoints,
    ("discovery.k8s.io/v1", "EndpointSlice"): EndpointSlice,
}

CLUSTER_SCOPED = frozenset({"IngressClass"})
QUIET = frozenset({("v1", "Namespace")})
"""Kinds that stand beside the others so often that a word about them would be noise."""

LIST = ("v1", "List")

OLD_INGRESSES = frozenset({"extensions/v1beta1", "networking.k8s.io/v1beta1"})

VERSIONS = {kind: version for version, kind in KINDS}
"""Kind -> the apiVersion that is read."""
