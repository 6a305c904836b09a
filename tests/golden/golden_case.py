"""A golden case: manifests beside the table that the compiler must make of them.

In: `CASE.yaml`, whose first comment lines are the sentence that the case shows and what the operator decided. Out: the
compiled table as text. The manifests are read by the loader that `ingressd run` uses.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingressd.admin.explanation import ask, explain
from ingressd.compile.compilation import Compilation, RouteRow
from ingressd.compile.compiler import compile_snapshot
from ingressd.compile.options import CompileOptions, OwnPort, StreamOptions
from ingressd.compile.policies import NGINX_BODY_BYTES
from ingressd.discovery.base import Answer, Query
from ingressd.discovery.static import split_port
from ingressd.errors import Fault
from ingressd.routing.table import RoutingTable
from ingressd.routing.trace import shown_host
from ingressd.sources.files import FileSource
from ingressd.table.endpoint import Endpoint
from ingressd.table.policy import DEFAULT_POLICY, READ_TIMEOUT
from ingressd.table.pool import Pool
from ingressd.table.stream import StreamListener

FOLDER = Path(__file__).parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""The moment that all cases are compiled at."""
HTTPS_PORT = 8443
NGINX_RETRY_ON = DEFAULT_POLICY.retry_on | {READ_TIMEOUT}
"""What holds for Ingresses that were written for ingress-nginx."""


def cases() -> list[str]:
    """The names of all cases."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def expected_file(case: str) -> Path:
    """Where the table of a case is written."""
    return FOLDER / f"{case}.expected"


class Case:
    """The comment lines that a case begins with: a sentence, then `# WORD: VALUE` lines.

    `options` CompileOptions as JSON, its `streams` an object of StreamOptions · `answers` what discovery knows, as JSON
    · `explain` a URL · `with` another file.
    """

    def __init__(self, name: str) -> None:
        self.file = f"{name}.yaml"
        self.options: dict[str, Any] = {}
        self.answers: dict[Query, Answer] = {}
        self.urls: list[str] = []
        self.files = [self.file]
        self.sentence = ""
        for line in (FOLDER / self.file).read_text().splitlines():
            if not line.startswith("# "):
                break
            self._take(line.removeprefix("# "))

    def _take(self, text: str) -> None:
        word, _, value = text.partition(": ")
        match word:
            case "options":
                self.options = {
                    key: tuple(each) if isinstance(each, list) else each for key, each in json.loads(value).items()
                }
            case "answers":
                self.answers = dict(_answers(json.loads(value)))
            case "explain":
                self.urls.append(value)
            case "with":
                self.files.append(value)
            case _:
                self.sentence = f"{self.sentence} {text}".strip()

    def compiled(self) -> Compilation:
        """Read and compile it, from within this folder: places in messages are names of files then."""
        with contextlib.chdir(FOLDER):
            resources = FileSource(tuple(self.files), events=False).load()
        options: dict[str, Any] = {"https_port": HTTPS_PORT, **self.options}
        streams = {"own": (OwnPort("--https-port", "0.0.0.0", HTTPS_PORT),), **options.get("streams", {})}
        options["streams"] = StreamOptions(**streams)
        return compile_snapshot(resources, self.answers, CompileOptions(now=NOW, **options))

    def table(self) -> str:
        """What the `.expected` file must be."""
        compilation = self.compiled()
        snapshot = compilation.snapshot
        parts = [
            [_route(row) for row in compilation.routes],
            [
                f"watch {pool.id}: {watch}"
                for pool in snapshot.pools.values()
                if pool.endpoints and (watch := _watch(pool))
            ],
            [f"certificate {host} -> {each.origin}" for host, each in sorted(snapshot.certificates.items())],
            sorted(f"query {query.provider} {query.target} {query.port}" for query in compilation.queries),
            [_stream(stream) for _, stream in sorted(snapshot.streams.items())],
            [f"tls {shown_host(name)}" for name, host in sorted(snapshot.hosts.items()) if host.tls],
            [
                f"client certificates {shown_host(name)} depth {host.client_trust.depth}"
                for name, host in sorted(snapshot.hosts.items())
                if host.client_trust is not None
            ],
            [
                f"passthrough {shown_host(name)} {_stream(host.passthrough)}"
                for name, host in sorted(snapshot.hosts.items())
                if host.passthrough is not None
            ],
            [_explained(RoutingTable(snapshot), url) for url in self.urls],
            [self._fault(fault) for fault in compilation.faults],
        ]
        return "\n".join("".join(f"{line}\n" for line in lines) for lines in parts if lines)

    def _fault(self, fault: Fault) -> str:
        file = "" if fault.file == self.file else f"{fault.file}:"
        hint = f" ({fault.hint})" if fault.hint else ""
        return f"{file}{fault.line}:{fault.column} {fault.severity} {fault.code} {fault.message}{hint}"


def _answers(written: Mapping[str, list[str] | str]) -> Iterator[tuple[Query, Answer]]:
    """`{"dns web 80": ["10.0.0.1:80"], "dns gone 80": "there is no such name"}`."""
    for question, answer in written.items():
        provider, rest = question.split(" ", 1)
        target, port = rest.rsplit(" ", 1)
        query = Query(provider, target, int(port))
        if isinstance(answer, str):
            yield query, Answer(problem=answer)
        else:
            places = [split_port(place) for place in answer]
            yield query, Answer(tuple(Endpoint(host, own or query.port, source=provider) for host, own in places))


def _route(row: RouteRow) -> str:
    route, pool = row.route, row.pool
    assert pool is not None
    endpoints = " ".join(f"{each.key} terminating" if each.terminating else each.key for each in pool.endpoints)
    shown = endpoints or f"none: {pool.problem}"
    text = f"{shown_host(route.host)} {route.path} {route.path_type} -> {pool.id}{' over TLS' if pool.tls else ''}"
    text += f" [{shown}] ({route.namespace}/{route.ingress}, {route.line})"
    chain = (*route.filters, *(each for each in route.response_filters if each not in route.filters))
    text += "".join(f" {{{each}}}" for each in chain)
    text += "".join(
        f" {field.name}={_shown(value)}"
        for field in fields(route.policy)
        if (value := getattr(route.policy, field.name)) not in (field.default, NGINX_BODY_BYTES, NGINX_RETRY_ON)
    )
    if row.condition:
        text += f" WHEN {row.condition}"
    return f"{text} DENIED {route.denied}" if route.denied else text


def _shown(value: object) -> str:
    """A set in its order, whatever order it is kept in."""
    return ",".join(sorted(str(each) for each in value)) if isinstance(value, frozenset) else str(value)


def _watch(pool: Pool) -> str:
    """How its endpoints are watched, where that is not the default."""
    default = Pool(pool.id, pool.namespace, pool.service, pool.port, outliers=CompileOptions(now=NOW).outliers)
    fields = ("check", "outliers", "slow_start_s", "panic_percent")
    values = {name: getattr(pool, name) for name in fields if getattr(pool, name) != getattr(default, name)}
    return " ".join(f"{name}={value!r}" for name, value in values.items())


def _stream(stream: StreamListener) -> str:
    header = " with PROXY v2" if stream.proxy_protocol else ""
    return f"stream {stream.key} ({stream.role}) -> {stream.pool}{header}"


def _explained(table: RoutingTable, url: str) -> str:
    try:
        question = ask(url, "GET", ())
    except ValueError:
        return f"explain {url} -> refused"
    answer = explain(table, question)
    winner = "" if answer["route"] is None else f"{answer['route']}, "
    outcome = answer["outcome"]
    if outcome["action"] == "proxy":
        return f"explain {url} -> {winner}{outcome['pool']}"
    location = outcome.get("headers", {}).get("Location", "")
    return f"explain {url} -> {winner}{outcome['status']} {outcome['reason']} {location}".rstrip()
