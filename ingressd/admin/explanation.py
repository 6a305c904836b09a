"""Explain: which route takes a request, what lost and why, and what happens next.

In: a routing table and a request as a person writes it. Out: JSON. Host and path go through the functions that real
requests go through, and the table's one algorithm; nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import RequestFilter, Services
from ingressd.http.authority import canonical_host
from ingressd.http.edited_lines import EditedLines
from ingressd.http.fields import FieldBlock
from ingressd.http.target import canonicalise, split_absolute
from ingressd.proxy.request_view import RequestView
from ingressd.routing.table import RoutingTable
from ingressd.routing.trace import Trace
from ingressd.table.route import Route
from ingressd.table.snapshot import Snapshot

CLIENT = "127.0.0.1"
"""Who asks: nobody knows who would."""
PORT_OF = {"http": 80, "https": 443}


class Question(RequestView):
    """A request that nobody sent. See filters.base.Request."""

    __slots__ = ()

    @property
    def server_port(self) -> int:
        """See Request. The port that a client would have used, whatever ours is."""
        port = self.authority.rpartition("]")[2].rpartition(":")[2]
        return int(port) if port.isdigit() else PORT_OF.get(self.scheme, 0)

    @property
    def services(self) -> Services:
        """See Request."""
        raise RuntimeError("a filter that asks somebody is only told of")

    def upstream_fields(self) -> EditedLines:
        """See RequestView. Where it comes from is not known."""
        return EditedLines(() if self.fields is None else self.fields.kept)


def ask(url: str, method: str, headers: Sequence[tuple[str, str]]) -> Question:
    """The request for `url`; without a scheme it is http. A Host among `headers` beats the URL's.

    Raises ValueError: it is no URL, or a request for it would be refused with 400.
    """
    whole = url if "://" in url else f"http://{url}"
    try:
        scheme, authority, target = split_absolute(whole.partition("#")[0])
        for name, value in headers:
            if name.lower() == "host":
                authority = value
        host = canonical_host(authority.encode("ascii"))
        path, _query = canonicalise(target)
        lines = [f"{name}: {value}".encode("latin-1") for name, value in headers if name.lower() != "host"]
        fields = FieldBlock([f"Host: {authority}".encode("ascii"), *lines], 1).fields
    except LocalReply as reply:
        raise ValueError(f"{url!r} would be refused with {reply.status}: {reply.detail}") from reply
    except UnicodeEncodeError as problem:
        what = "a field that is not Latin-1" if problem.encoding == "latin-1" else "a host that is not ASCII"
        raise ValueError(f"{url!r} has {what}: write it in its encoded form") from problem
    question = Question()
    question.method, question.scheme, question.target, question.version = method, scheme, target, "HTTP/1.1"
    question.host, question.authority, question.path = host, authority, path
    question.client_address, question.client_port = CLIENT, 0
    question.request_id, question.began = "", 0.0
    question.fields, question.route, question.edits = fields, None, None
    return question


def explain(table: RoutingTable, question: Question) -> dict[str, Any]:
    """The answer, step by step."""
    trace = Trace()
    found = table.match(question.host, question.path, trace)
    route = found
    if found is not None and found.alternatives:
        route = table.decide(found, question.host, question.path, question, trace)
    question.route = route
    before = question.forwarded_lines()
    chain, reply = _run(route, question)
    goes_on = route is not None and not route.denied and reply is None
    return {
        "method": question.method,
        "scheme": question.scheme,
        "host": question.host,
        "path": question.path,
        "hosts": [candidate.as_dict() for candidate in trace.hosts],
        "routes": [candidate.as_dict() for candidate in trace.candidates()],
        "route": None if route is None else route.id,
        "alternatives": _alternatives(found, route),
        "filters": chain,
        "response_filters": [] if route is None else [str(each) for each in route.response_filters],
        "policy": None if route is None else _policy(route),
        "sent": _sent(question, before) if goes_on else None,
        "outcome": _outcome(table.snapshot, route, question, reply),
    }


def _run(route: Route | None, question: Question) -> tuple[list[dict[str, str]], LocalReply | None]:
    """What each request filter of the route does, in their order, and the answer that one of them gives."""
    chain: list[dict[str, str]] = []
    reply: LocalReply | None = None
    for each in () if route is None or route.denied else route.filters:
        if reply is not None:
            does = "not reached"
        elif getattr(each, "asks", False):
            does = "asks"
        else:
            reply = _answer(each, question)
            does = "passes" if reply is None else "answers"
        chain.append({"filter": str(each), "does": does})
    return chain, reply


def _answer(request_filter: RequestFilter, question: Question) -> LocalReply | None:
    try:
        # One that has something to wait for says so: it asks.
        reply: Any = request_filter.on_request(question)
    except LocalReply as refusal:
        return refusal
    return reply if isinstance(reply, LocalReply) else None


def _outcome(
    snapshot: Snapshot, route: Route | None, question: Question, reply: LocalReply | None
) -> Mapping[str, Any]:
    """What happens once the route is known, in the order in which the proxy decides it."""
    if route is None:
        return _local(404, Reason.NO_ROUTE, "no rule and no default backend takes the request")
    if route.denied:
        return _local(503, Reason.POLICY_INVALID, route.denied)
    if reply is not None:
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
        return {**_local(reply.status, reply.reason, reply.detail), "headers": fields}
    edits = question.edits
    pool = snapshot.pools.get(route.pool if edits is None else edits.pool or route.pool)
    if pool is None or not pool.endpoints:
        why = pool.problem if pool is not None else f"{route.namespace}/{route.service} has no port {route.port}"
        return _local(503, Reason.NO_ENDPOINTS, why or "the Service has no endpoints")
    return {
        "action": "proxy",
        "pool": pool.id,
        "scheduler": pool.scheduler,
        "affinity_s": pool.affinity_s,
        "tls": pool.tls is not None,
        "endpoints": [endpoint.key for endpoint in pool.endpoints],
    }


def _alternatives(found: Route | None, route: Route | None) -> list[dict[str, Any]]:
    """Who else may have requests of this host and path, in the order in which they are asked."""
    return [
        {
            "route": each.route.id,
            "pool": each.route.pool,
            "condition": str(each.condition),
            "by_chance": each.condition.by_chance,
            "taken": each.route is route,
        }
        for each in (() if found is None else found.alternatives)
    ]


def _policy(route: Route) -> dict[str, Any]:
    values = asdict(route.policy)
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}


def _sent(question: Question, before: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What the endpoint gets, as far as the filters that were run have changed it."""
    after = question.forwarded_lines()
    edits = question.edits
    left = {name.lower() for name, _ in after}
    return {
        "target": (edits and edits.target) or question.origin_target,
        "host": (edits and edits.authority) or question.authority,
        "set": [{"name": name, "value": value} for name, value in after if (name, value) not in before],
        "removed": [name for name, _ in before if name.lower() not in left],
    }


def _local(status: int, reason: Reason, detail: str) -> dict[str, Any]:
    return {"action": "local_reply", "status": status, "reason": str(reason), "detail": detail}
