"""Made: a Pool with all that it was made of, so that it need not be made again while that stays the same.

In: names of pools, as backends give them. Out: what pools.py makes and backends.py keeps. It never knows how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ingressd.discovery.base import Answer, Query
from ingressd.errors import Fault
from ingressd.model.endpoint_slice import EndpointSlice
from ingressd.model.endpoints import Endpoints
from ingressd.model.ingress import Backend, BackendPort
from ingressd.model.resource import Resource
from ingressd.model.service import Service
from ingressd.model.shape import Loc
from ingressd.table.pool import Pool
from ingressd.table.pool_variant import PLAIN, PoolVariant
from ingressd.table.stream import TCP

SERVICE_MISSING = "service_missing"
BACKEND_RESOURCE = "backend_resource"
"""Codes of refusals that somebody asks for."""


class PoolName(NamedTuple):
    """A port of a Service as a backend names it, or as a listener of the Service does."""

    namespace: str
    service: str
    """Of a backend that is no Service, its kind and name with a slash between them, which no name of a Service has."""
    port: str
    """By name or number."""
    protocol: str = TCP
    variant: PoolVariant = PLAIN
    """How an Ingress wants it reached."""

    @property
    def id(self) -> str:
        """That of its Pool. A Service may have the same port for TCP and for UDP."""
        own = "" if self.protocol == TCP else f"/{self.protocol}"
        return f"{self.namespace}/{self.service}:{self.port}{own}{self.variant.suffix}"

    @property
    def with_twin(self) -> tuple[PoolName, ...]:
        """The names of all pools that a route to this one needs."""
        twin = self.variant.twin
        return (self,) if twin is None else (self, self._replace(variant=twin))


class Refusal(NamedTuple):
    """Why a pool cannot have endpoints, whatever happens: it is told to everybody who names it."""

    code: str
    problem: str
    loc: Loc
    """The field of the backend that is wrong."""


class Evidence(NamedTuple):
    """The objects that a Pool was made of."""

    service: Resource[Service] | None
    slices: tuple[Resource[EndpointSlice], ...] | None
    endpoints: Resource[Endpoints] | None


NOTHING = Evidence(None, None, None)


@dataclass(frozen=True, slots=True)
class Made:
    """A Pool, and what it was made of."""

    pool: Pool
    refusal: Refusal | None = None
    queries: tuple[Query, ...] = ()
    """The questions whose answers are its endpoints."""
    answers: tuple[Answer | None, ...] = ()
    """To the queries, one each, as they were when it was made."""
    evidence: Evidence = NOTHING
    faults: tuple[Fault, ...] = ()


def pool_name(backend: Backend, namespace: str, variant: PoolVariant = PLAIN) -> PoolName:
    """The Pool for a backend of an object in `namespace`."""
    if backend.service is None:
        resource = backend.resource
        return PoolName(namespace, "/" if resource is None else f"{resource.kind}/{resource.name}", "")
    port = backend.service.port or BackendPort()
    return PoolName(namespace, backend.service.name, port.name or str(port.number), variant=variant)


def operators_pool(written: str) -> PoolName | None:
    """The Pool of --default-backend NAMESPACE/SERVICE:PORT, whose form was checked when it was read; None = not set."""
    if not written:
        return None
    namespace, _, rest = written.partition("/")
    service, _, port = rest.partition(":")
    return PoolName(namespace, service, port)


def refused(name: PoolName, refusal: Refusal, evidence: Evidence = NOTHING, faults: tuple[Fault, ...] = ()) -> Made:
    """A Pool without endpoints."""
    pool = Pool(id=name.id, namespace=name.namespace, service=name.service, port=name.port, problem=refusal.problem)
    return Made(pool, refusal, evidence=evidence, faults=faults)
