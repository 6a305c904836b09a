"""`ingressd explain URL DIR...`: which rule takes a request, what lost and why, and what happens next.

In: a request as curl would send it, and folders. Out: the steps in words, or JSON. Host and path are matched by the
functions that real requests go through; nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingressd.cli.console import console, fail, print_json
from ingressd.cli.offline import OFFLINE_FLAGS, Output, compile_paths, questions
from ingressd.cli.setting_flags import takes_settings

if TYPE_CHECKING:
    from rich.text import Text

    from ingressd.compile.compilation import Compilation
    from ingressd.errors import Fault
    from ingressd.model.resource import Resource

NEAREST = 3
SHOWN_CANDIDATES = 20
"""Of a host with hundreds of paths, those that do not take the request are counted from here on."""


@takes_settings(OFFLINE_FLAGS)
def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="As in curl; http when it has no scheme.")],
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="DIR...", help="Folders or files with manifests.", show_default=False)
    ] = None,
    method: Annotated[str, typer.Option("--request", "-X", metavar="METHOD", help="The request's method.")] = "GET",
    headers: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="'K: V'",
            help="A field of the request; Host replaces the URL's.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")] = Output.TEXT,
    **given: Any,
) -> None:
    """Say which rule of DIR... takes a request for URL, what lost and why, and what happens next.

    No request is sent. Exit code 0 whatever the answer would be, also for a 404.
    """
    from ingressd.admin.explanation import ask
    from ingressd.admin.explanation import explain as explain_question
    from ingressd.routing.table import RoutingTable

    try:
        question = ask(url, method, [_field(header) for header in headers or ()])
    except ValueError as mistake:
        fail(str(mistake))
    compilation = compile_paths(paths, given, f"explain {url}")
    answer = explain_question(RoutingTable(compilation.snapshot), question)
    answer["outcome"] = _with_discovery(answer, compilation)
    answer["notes"] = list(_notes(answer, compilation))
    if output is Output.JSON:
        print_json(answer)
    else:
        screen = console()
        for line in _lines(answer):
            screen.print(line, soft_wrap=True)


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not name.strip() or not colon:
        fail(f"--header: {header!r} is not 'NAME: VALUE'")
    return name.strip(), value.strip()


def _with_discovery(answer: Mapping[str, Any], compilation: Compilation) -> Mapping[str, Any]:
    """Endpoints that only a running proxy asks for are no failure: the questions are named instead."""
    outcome: Mapping[str, Any] = answer["outcome"]
    row = next((row for row in compilation.routes if row.route.id == answer["route"]), None)
    if row is None or row.pool is None or (outcome["action"] != "proxy" and outcome["reason"] != "no_endpoints"):
        return outcome
    asks = questions(compilation, row.pool.id)
    if not asks:
        return outcome
    pool = row.pool
    return {
        "action": "proxy",
        "pool": pool.id,
        "scheduler": pool.scheduler,
        "affinity_s": pool.affinity_s,
        "tls": pool.tls is not None,
        "endpoints": [endpoint.key for endpoint in pool.endpoints],
        "asks": asks,
    }


def _notes(answer: Mapping[str, Any], compilation: Compilation) -> Iterator[str]:
    """What may help when a request goes where it was not meant to go."""
    host = answer["host"]
    known = [name for name in compilation.snapshot.hosts if name]
    if host and not any(each["outcome"] == "won" and each["name"] != "*" for each in answer["hosts"]):
        near = get_close_matches(host, known, n=NEAREST)
        if near:
            yield f"no rule names the host {host}; the nearest: {', '.join(near)}"
        elif known:
            yield f"no rule names the host {host}"
        else:
            yield f"no rule names the host {host}, nor any other one"
    yield from _passed_over(host, compilation)
    errors = {(fault.kind, fault.namespace, fault.name) for fault in compilation.faults if fault.severity == "error"}
    read = {(each.kind, each.namespace, each.name) for each in compilation.resources.ingresses}
    broken = sorted(f"{namespace}/{name}" for kind, namespace, name in errors - read if kind == "Ingress")
    if broken:
        yield f"not read because of mistakes, see `ingressd check`: Ingress {', '.join(broken)}"


def _passed_over(host: str, compilation: Compilation) -> Iterator[str]:
    """Ingresses with rules for `host` of which no route is in the table."""
    from ingressd.routing.paths import wildcard_of

    names = {host, wildcard_of(host)} - {""}
    serving = {(row.route.namespace, row.route.ingress) for row in compilation.routes}
    for ingress in compilation.resources.ingresses:
        hosts = names & {rule.host for rule in ingress.object.spec.rules}
        if hosts and (ingress.namespace, ingress.name) not in serving:
            why = _faults_of(ingress, compilation.faults)
            place = ingress.place("metadata", "name")
            yield f"{place}: Ingress {ingress.namespace}/{ingress.name} names {', '.join(sorted(hosts))}, but " + (
                "; ".join(why) or "no rule of it is in the table"
            )


def _faults_of(resource: Resource[Any], faults: Iterable[Fault]) -> list[str]:
    own = (resource.kind, resource.namespace, resource.name)
    return [
        f"{fault.message} [{fault.code}]" + (f" ({fault.hint})" if fault.hint else "")
        for fault in faults
        if (fault.kind, fault.namespace, fault.name) == own
    ]


def _lines(answer: Mapping[str, Any]) -> Iterator[str | Text]:
    yield f"{answer['method']} {answer['scheme']}://{answer['host'] or '(no host)'}{answer['path']}"
    yield ""
    yield "1. The host"
    for host in answer["hosts"]:
        yield _candidate(host["outcome"], host["name"], host["why"])
    yield ""
    yield "2. The path"
    yield from _paths(answer["routes"])
    yield ""
    yield "3. What happens next"
    for line in (*_chain(answer), *_outcome(answer["outcome"])):
        yield f"   {line}"
    if answer["notes"]:
        yield ""
        yield from answer["notes"]


def _paths(routes: list[Mapping[str, Any]]) -> Iterator[str | Text]:
    taking = [route for route in routes if route["outcome"] != "missed"]
    missed = [route for route in routes if route["outcome"] == "missed"]
    for route in [*taking, *missed[:SHOWN_CANDIDATES]]:
        # A route of --default-backend stands in no file.
        place = f"{route['file']}:{route['line']} Ingress {route['ingress']}" if route["line"] else route["file"]
        name = f"{route['path_type']} {route['path']} -> {route['service']}:{route['port']}"
        yield _candidate(route["outcome"], name, f"{route['why']}\n          {place}")
    if len(missed) > SHOWN_CANDIDATES:
        yield f"   and {len(missed) - SHOWN_CANDIDATES} more paths that do not take it"
    if not routes:
        yield "   there is none to look at"


def _candidate(outcome: str, name: str, why: str) -> Text:
    from rich.text import Text

    style = {"won": "bold green", "lost": "yellow", "missed": "dim"}[outcome]
    return Text("   ").append(f"{outcome:<6}", style).append(f" {name}\n          {why}")


def _chain(answer: Mapping[str, Any]) -> Iterator[str]:
    """The filters in the order in which they run, and what becomes of the request on its way."""
    yield from (f"{each['does']:<8} {each['filter']}" for each in answer["filters"])
    for each in answer["alternatives"]:
        if each["by_chance"] and not each["taken"]:
            yield f"or goes  to {each['pool']}: {each['condition']}"
    sent = answer["sent"]
    if sent is not None:
        yield f"sends    {answer['method']} {sent['target']}, Host: {sent['host']}"
        yield from (f"sets     {field['name']}: {field['value']}" for field in sent["set"])
        yield from (f"removes  {name}" for name in sent["removed"])
        yield f"bounds   {_bounds(answer['policy'])}"
    yield from (f"returns  {each}" for each in answer["response_filters"])


def _bounds(policy: Mapping[str, Any]) -> str:
    """A policy in words."""
    tries = policy["tries"]
    words = [
        f"connect {policy['connect_s']:g} s",
        f"read {policy['read_gap_s']:g} s",
        f"send {policy['send_gap_s']:g} s",
        "1 try" if tries == 1 else f"{tries or 'any number of'} tries",
        f"body {policy['request_body_bytes']} bytes" if policy["request_body_bytes"] else "body of any size",
    ]
    words += [f"whole request {policy['request_s']:g} s"] if policy["request_s"] else []
    return ", ".join(words)


def _outcome(outcome: Mapping[str, Any]) -> Iterator[str]:
    if outcome["action"] == "proxy":
        protocol = "https" if outcome["tls"] else "http"
        how = f"picked by {outcome['scheduler']}"
        if outcome["affinity_s"]:
            how = "the client's own (sessionAffinity)"
        yield f"proxied by {protocol} to an endpoint of {outcome['pool']}, {how}:"
        yield from (f"  {endpoint}" for endpoint in outcome["endpoints"])
        yield from (f"  what {question} answers, which a running proxy asks" for question in outcome.get("asks", ()))
        return
    detail = f": {outcome['detail']}" if outcome["detail"] else ""
    yield f"{outcome['status']} {outcome['reason']}{detail}"
    for name, value in outcome.get("headers", {}).items():
        yield f"{name}: {value}"
