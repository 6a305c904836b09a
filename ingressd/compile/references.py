"""References: the objects that the annotations of an Ingress name, and what was found under their names.

In: names as annotations have them. Out: what the objects hold. Everything that was looked up is written down, so that
an Ingress is read again when a Secret changes, and only then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingressd.compile.made import PoolName
from ingressd.compile.pools import TLS_PROTOCOLS
from ingressd.filters.base import Unusable
from ingressd.model.ingress import Ingress
from ingressd.model.kinds import Kind
from ingressd.model.resource import Resource
from ingressd.model.resource_set import Name, ResourceSet

Sought = tuple[str, Name]
"""Kind, namespace and name."""


class References:
    """See filters.base.Lookup."""

    def __init__(
        self,
        ingress: Resource[Ingress],
        resources: ResourceSet,
        need: Callable[[PoolName, str], None],
        operators_own: PoolName | None = None,
        *,
        cluster_domain: str,
    ) -> None:
        """`need` is told the pools that annotations name, and by which annotation. `operators_own`: the default one.

        `cluster_domain` is what the names of Services in DNS end with.
        """
        self._ingress = ingress
        self._resources = resources
        self._need = need
        self._operators_own = operators_own
        self._in_dns = ("svc", f"svc.{cluster_domain}")
        self.found: dict[Sought, Resource[Kind] | None] = {}

    def secret(self, name: str, annotation: str) -> Mapping[str, bytes]:
        """See Lookup."""
        key = self._key("Secret", name, annotation)
        resource = self._resources.secrets.get(key)
        self.found["Secret", key] = resource
        if resource is None:
            raise Unusable(annotation, f"there is no Secret {'/'.join(key)}", "write it, or correct its name")
        secret = resource.object
        values = ((each, secret.value(each)) for each in (*secret.data, *secret.string_data))
        return {each: value for each, value in values if value is not None}

    def config_map(self, name: str, annotation: str) -> Mapping[str, str]:
        """See Lookup."""
        key = self._key("ConfigMap", name, annotation)
        resource = self._resources.config_maps.get(key)
        self.found["ConfigMap", key] = resource
        if resource is None:
            raise Unusable(annotation, f"there is no ConfigMap {'/'.join(key)}", "write it, or correct its name")
        return resource.object.data

    def pool(self, service: str, port: str, annotation: str) -> str:
        """See Lookup. Behind a name in DNS there may be the cluster's domain."""
        namespace = ""
        own, dot, space = service.partition(".")
        if dot:
            # No Service has a dot in its name.
            namespace, _, rest = space.partition(".")
            if rest not in self._in_dns:
                raise Unusable(annotation, f"{service} is the name of no Service")
        key = (namespace or self._ingress.namespace, own)
        resource = self._resources.services.get(key)
        self.found["Service", key] = resource
        if resource is None:
            raise Unusable(annotation, f"there is no Service {'/'.join(key)}", "write it, or correct its name")
        if not port:
            ports = [each.port for each in resource.object.spec.ports if each.protocol == "TCP"]
            if not ports:
                raise Unusable(annotation, f"Service {'/'.join(key)} has no TCP port")
            port = str(ports[0])
        name = PoolName(*key, port)
        self._need(name, annotation)
        return name.id

    def speaks_tls(self, name: PoolName) -> bool:
        """Whether the appProtocol of the port asks for TLS; also when there is no such Service: others tell of that."""
        key = (name.namespace, name.service)
        resource = self._resources.services.get(key)
        self.found["Service", key] = resource
        if resource is None:
            return True
        ports = [each for each in resource.object.spec.ports if name.port in (each.name, str(each.port))]
        return any((each.app_protocol or "").lower() in TLS_PROTOCOLS for each in ports)

    def default_pool(self, annotation: str) -> str:
        """See Lookup."""
        if self._operators_own is None:
            return ""
        self._need(self._operators_own, annotation)
        return self._operators_own.id

    def _key(self, kind: str, name: str, annotation: str) -> Name:
        namespace, slash, own = name.rpartition("/")
        if slash and namespace != self._ingress.namespace:
            raise Unusable(
                annotation,
                f"{kind} {name} is in another namespace than the Ingress",
                f"write the {kind} into the namespace {self._ingress.namespace}",
            )
        return self._ingress.namespace, own


def holds(found: Mapping[Sought, Resource[Kind] | None], resources: ResourceSet) -> bool:
    """Whether the same would be found again."""
    by_kind: dict[str, Mapping[Name, Resource[Kind]]] = {
        "Secret": resources.secrets,
        "ConfigMap": resources.config_maps,
        "Service": resources.services,
    }
    return all(by_kind[kind].get(name) is resource for (kind, name), resource in found.items())
