"""Compile: resources and what discovery found become a Snapshot and Faults.

Pure: the same input makes the same output. Sub-objects that equal those of the previous snapshot are the very same
objects, so that what is published is what changed. A Compiler remembers what it made of each object, so that an edit
costs what was edited: docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from ingressd.compile.backends import BackendMemory, compile_backends
from ingressd.compile.canaries import Need
from ingressd.compile.certificates import compile_tls
from ingressd.compile.classes import ClassMemory, served_ingresses
from ingressd.compile.client_auth import guard_hosts
from ingressd.compile.compilation import Compilation
from ingressd.compile.extra_hosts import add_extra_hosts
from ingressd.compile.hosts import HostMemory, assemble, last_resort, with_needs
from ingressd.compile.kept import Kept
from ingressd.compile.loops import LoopMemory, without_loops
from ingressd.compile.options import Certificates, CompileOptions
from ingressd.compile.passthrough import pass_hosts
from ingressd.compile.pools import PoolMaker
from ingressd.compile.rules import RuleMemory, read_rules
from ingressd.compile.series import Those
from ingressd.compile.slices import unused
from ingressd.compile.streams import StreamMemory, compile_streams
from ingressd.discovery.base import Answer, Query
from ingressd.errors import Fault
from ingressd.model.ingress import Ingress
from ingressd.model.ingress_class import IngressClass
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.model.secret import Secret
from ingressd.table.certificate import Certificate
from ingressd.table.snapshot import Snapshot, edited

V = TypeVar("V")

_SOME_MOMENT = datetime.fromtimestamp(0, UTC)


def compile_snapshot(
    resources: ResourceSet,
    answers: Mapping[Query, Answer],
    options: CompileOptions,
    previous: Snapshot | None = None,
) -> Compilation:
    """One run. A query without an answer in `answers` makes a pool that waits for it."""
    return Compiler().compile(resources, answers, options, previous)


class _Memory:
    """What the last run made, by what it was made of. All of it also depends on `options` and `classes`."""

    def __init__(
        self, options: CompileOptions, classes: tuple[Resource[IngressClass], ...], before: StreamMemory | None
    ) -> None:
        self.options = options
        self.classes = classes
        self.served = ClassMemory()
        self.secured: Those[Resource[Ingress]] = Those(lambda ingress: ingress.object.spec.tls)
        self.secrets: Kept[Resource[Secret], Certificate | Fault] = Kept()
        self.rules = RuleMemory()
        self.hosts = HostMemory()
        self.backends = BackendMemory()
        self.loops = LoopMemory()
        self.tidy: ResourceSet | None = None
        """The last resources, if each slice and Endpoints belonged to a Service."""
        self.streams = StreamMemory(before)

    def turn(self) -> None:
        """A run begins."""
        self.secrets.turn()
        self.backends.turn()


class Compiler:
    """Compiles again and again. It makes what `compile_snapshot` makes of the same input, at the cost of an edit."""

    def __init__(self) -> None:
        self._memory: _Memory | None = None

    def compile(
        self,
        resources: ResourceSet,
        answers: Mapping[Query, Answer],
        options: CompileOptions,
        previous: Snapshot | None = None,
    ) -> Compilation:
        """One run."""
        before = previous or Snapshot()
        memory = self._remember(options, resources)
        decided = memory.options
        faults: list[Fault] = list(unused(resources, memory.tidy))
        memory.tidy = None if faults or any(each.kind == "Service" for each in resources.faults) else resources
        ingresses = served_ingresses(resources, decided, faults, memory.served)
        # Certificates expire, and the one before may have to be served: they are looked at anew each time.
        tls = compile_tls(memory.secured.of(ingresses), resources, options, previous, faults, memory.secrets)
        fragments, further = read_rules(ingresses, resources, tls, decided, faults, memory.rules)
        needs: list[Need] = []
        hosts = assemble(fragments, before.hosts, faults, memory.hosts, needs, decided.regex_scope)
        default, operators_own = last_resort(further, decided, faults)
        pass_hosts(fragments.now, further, hosts, before.hosts, faults)
        default = guard_hosts(further, hosts, default, before.hosts, faults)
        add_extra_hosts(further, hosts, before.hosts, tls, decided.redirect_status, faults)
        streams = compile_streams(resources.services, decided, faults, memory.streams)
        maker = PoolMaker(resources, answers, decided)
        backends = compile_backends(
            with_needs(fragments, needs),
            operators_own,
            streams.pools,
            maker,
            resources.services,
            faults,
            memory.backends,
        )
        pools = without_loops(
            backends.pools, backends.requests, streams.listeners, resources, options, faults, memory.loops
        )
        snapshot = Snapshot(
            generation=before.generation,
            hosts=hosts,
            pools=_same(before.pools, pools),
            certificates=_same(before.certificates, tls.certificates),
            default_certificate=tls.default,
            default=before.default if before.default == default else default,
            streams=_same(before.streams, streams.listeners),
        )
        return Compilation(
            snapshot=snapshot,
            faults=tuple(sorted((*resources.faults, *faults), key=Fault.place)),
            queries=frozenset(query for queries in backends.asked.values() for query in queries),
            resources=resources,
            asked=backends.asked,
            streams=streams,
            domain=options.cluster_domain,
            external_name_allow=options.external_name_allow,
        )

    def _remember(self, options: CompileOptions, resources: ResourceSet) -> _Memory:
        """What holds of the last run: nothing, when the operator or an IngressClass decided something else."""
        # Only compile_tls may know the time and the operator's certificates, without_loops who has a port.
        streams = replace(options.streams, held=frozenset())
        decided = replace(options, now=_SOME_MOMENT, certificates=Certificates(), streams=streams)
        memory = self._memory
        if memory is None or memory.options != decided or memory.classes != resources.classes:
            before = None if memory is None else memory.streams
            memory = self._memory = _Memory(decided, resources.classes, before)
        memory.turn()
        return memory


def _same(before: Mapping[str, V], made: Mapping[str, V]) -> dict[str, V]:
    """`made`, with the objects of `before` where they are equal."""
    same = dict(made)
    for key in edited(before, made):
        old = before.get(key)
        if old is not None and old == made[key]:
            same[key] = old
    return same
