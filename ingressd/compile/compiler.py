"""Compile: resources and what discovery found become a Snapshot and Faults.

Pure: the same input makes the same output. Sub-objects that equal those of the previous snapshot are the very same
objects, so that what is published is what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ingressd.compile.certificates import compile_tls
from ingressd.compile.classes import served_ingresses
from ingressd.compile.compilation import Compilation
from ingressd.compile.options import CompileOptions
from ingressd.compile.pools import PoolCompiler
from ingressd.compile.rules import RuleCompiler
from ingressd.compile.slices import unused
from ingressd.discovery.base import Answer, Query
from ingressd.errors import Fault
from ingressd.model.resource_set import ResourceSet
from ingressd.table.snapshot import Snapshot

V = TypeVar("V")


def compile_snapshot(
    resources: ResourceSet,
    answers: Mapping[Query, Answer],
    options: CompileOptions,
    previous: Snapshot | None = None,
) -> Compilation:
    """One run. A query without an answer in `answers` makes a pool that waits for it."""
    before = previous or Snapshot()
    faults: list[Fault] = list(unused(resources))
    ingresses = served_ingresses(resources, options, faults)
    tls = compile_tls(ingresses, resources, options, previous, faults)
    pools = PoolCompiler(resources, answers, options, faults)
    rules = RuleCompiler(pools, tls, options, faults)
    rules.take(ingresses)
    hosts, default = rules.finish(before.hosts)
    snapshot = Snapshot(
        generation=before.generation,
        hosts=hosts,
        pools=_same(before.pools, pools.pools),
        certificates=_same(before.certificates, tls.certificates),
        default_certificate=tls.default,
        default=before.default if before.default == default else default,
    )
    return Compilation(
        snapshot=snapshot,
        faults=tuple(sorted((*resources.faults, *faults), key=_place)),
        queries=frozenset(query for queries in pools.asked.values() for query in queries),
        resources=resources,
        asked=pools.asked,
    )


def _same(before: Mapping[str, V], made: Mapping[str, V]) -> dict[str, V]:
    """`made`, with the objects of `before` where they are equal."""
    return {key: old if (old := before.get(key)) == value and old is not None else value for key, value in made.items()}


def _place(fault: Fault) -> tuple[str, int, int, str]:
    return fault.file, fault.line, fault.column, fault.code
