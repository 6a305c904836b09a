"""Explain: which route takes a request, what lost and why, and what happens next.

In: a routing table and a request as a person writes it. Out: JSON. Host and path go through the functions that real
requests go through, and the table's one algorithm; nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.filters.base import Services
from ingressd.http.authority import canonical_host
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

    def own_lines(self) -> list[bytes]:
        """See RequestView. Where it comes from is not known."""
        return []


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
    route = table.match(question.host, question.path, trace)
    if route is not None and route.alternatives:
        route = table.decide(route, question.host, question.path, question, trace)
    question.route = route
    return {
        "method": question.method,
        "scheme": question.scheme,
        "host": question.host,
        "path": question.path,
        "hosts": [candidate.as_dict() for candidate in trace.hosts],
        "routes": [candidate.as_dict() for candidate in trace.candidates()],
        "route": None if route is None else route.id,
        "outcome": _outcome(table.snapshot, route, question),
    }


def _outcome(snapshot: Snapshot, route: Route | None, question: Question) -> Mapping[str, Any]:
    """What happens once the route is known, in the order in which the proxy decides it."""
    if route is None:
        return _local(404, Reason.NO_ROUTE, "no rule and no default backend takes the request")
    if route.denied:
        return _local(503, Reason.POLICY_INVALID, route.denied)
    for request_filter in route.filters:
        if getattr(request_filter, "asks", False):
            continue
        reply: LocalReply | None
        try:
            reply = request_filter.on_request(question)
        except LocalReply as refusal:
            reply = refusal
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
        "tls": pool.tls,
        "endpoints": [endpoint.key for endpoint in pool.endpoints],
    }


def _local(status: int, reason: Reason, detail: str) -> dict[str, Any]:
    return {"action": "local_reply", "status": status, "reason": str(reason), "detail": detail}
