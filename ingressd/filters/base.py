"""What a filter is given, what it may answer, and how it declares the annotations that ask for it.

A filter is frozen, comparable and picklable: compile/ builds it, a Route carries it, every request of the route
shares it. Nothing is parsed on the request path: what a value means was found out when the filter was built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from aiohttp import ClientSession

from ingressd.errors import LocalReply
from ingressd.filters.buckets import Buckets
from ingressd.http.client_certificate import ClientTls
from ingressd.http.edited_lines import FixedFields
from ingressd.table.policy import RoutePolicy
from ingressd.table.pool_variant import PoolVariant
from ingressd.table.route import Route

T = TypeVar("T")


class Target(Protocol):
    """An endpoint as an Affinity sees it."""

    @property
    def key(self) -> str:
        """`ADDRESS:PORT`, the same in every process."""


E = TypeVar("E", bound=Target)


class Affinity(Protocol):
    """Which endpoint one request should go to, when that is not for the scheduler to say."""

    def choose(self, endpoints: Sequence[E], tried: Collection[E]) -> E | None:
        """One of `endpoints` that is not in `tried`; None: the scheduler picks. The same in every process."""


class Services(Protocol):
    """What filters can use of the worker they run in."""

    @property
    def session(self) -> ClientSession:
        """For requests of the filter's own: no cookies, no redirects unless asked for, nothing of the environment."""

    @property
    def threads(self) -> Executor:
        """For what would hold the loop, like password hashes."""

    @property
    def buckets(self) -> Buckets:
        """What clients have used of their limits, over all workers."""

    def count(self, what: str) -> None:
        """Count something for the metrics, by a word of the filter's own, never of a client's."""

    @property
    def memory(self) -> dict[Any, Any]:
        """What filters of this worker keep between requests and over reloads, by keys of their own."""

    def endpoint(self, pool: str, request: Request) -> str | None:
        """`ADDRESS:PORT` of an endpoint for a request of the filter's own; None: the pool has none that is ready."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside the request. It is cancelled when the worker ends."""


class Request(Protocol):
    """A request as filters see it, and what they can change of it on its way to the endpoint."""

    @property
    def method(self) -> str:
        """As sent: methods are case-sensitive."""

    @property
    def scheme(self) -> str:
        """`http` or `https`: the client's, when a trusted proxy in front of us says so."""

    @property
    def host(self) -> str:
        """Lower case, without port; empty when an HTTP/1.0 request named none."""

    @property
    def authority(self) -> str:
        """Host as sent, with its port."""

    @property
    def target(self) -> str:
        """As sent: origin-form or absolute-form, with its query."""

    @property
    def path(self) -> str:
        """Canonical: what routes are matched by."""

    @property
    def query(self) -> str:
        """As sent, without its question mark; empty when there is none."""

    @property
    def version(self) -> str:
        """`HTTP/1.1`."""

    @property
    def client_address(self) -> str:
        """The client's, as text: the peer's, or what a trusted proxy says."""

    @property
    def client_port(self) -> int:
        """The peer's."""

    @property
    def server_port(self) -> int:
        """The local port of the client's connection."""

    @property
    def client_tls(self) -> ClientTls | None:
        """What the TLS of its connection tells of the client, whatever host it was for; None = it has no TLS."""

    @property
    def has_body(self) -> bool:
        """A body comes after the head."""

    @property
    def request_id(self) -> str:
        """Its X-Request-ID."""

    @property
    def began(self) -> float:
        """Monotonic seconds."""

    @property
    def route(self) -> Route | None:
        """The route it matched."""

    @property
    def services(self) -> Services:
        """The worker's."""

    @property
    def notes(self) -> dict[Any, Any]:
        """What filters keep from the request for its response, by keys of their own."""

    def header(self, name: str) -> str | None:
        """The value of the fields called `name` (lower case), joined if there are several; None: it was not sent."""

    def cookie(self, name: str) -> str | None:
        """The value of a cookie, as sent."""

    def argument(self, name: str) -> str | None:
        """The value of a parameter of the query, as sent: not decoded."""

    def forwarded_lines(self) -> list[tuple[str, str]]:
        """All fields that the endpoint would get now, in order, those that the proxy writes included."""

    def rewrite(self, target: str, *, checked: bool = False) -> None:
        """Send this target (origin-form) to the endpoint. Raises LocalReply (400) for what is none.

        `checked`: it is known to be one.
        """

    def set_upstream_host(self, authority: str) -> None:
        """Send this Host to the endpoint. Raises LocalReply (400) for what is none."""

    def set_header(self, name: str, value: str) -> None:
        """Send one field with this value, in place of all with the name. Raises LocalReply (400) for a bad value."""

    def add_header(self, name: str, value: str) -> None:
        """Send one field more. Raises LocalReply (400) for a bad value."""

    def remove_header(self, name: str) -> None:
        """Send no field with the name."""

    def set_fixed(self, fixed: FixedFields) -> None:
        """As `set_header` for each of them, which are alike for all requests; their names differ."""

    def add_fixed(self, fixed: FixedFields) -> None:
        """As `add_header` for each of them."""

    def remove_all(self, names: Set[str]) -> None:
        """Send no field with one of these names (lower case)."""

    def send_to(self, pool: str) -> None:
        """Choose an endpoint of this pool, not of the route's."""

    def prefer(self, affinity: Affinity) -> None:
        """Ask this one, before the scheduler, which endpoint it should be."""

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this once, when the request has ended, whatever ended it."""

    @property
    def preferred(self) -> Affinity | None:
        """What `prefer` was told last, unless the response is that of a Detour."""

    def tap(self, receive: Callable[[bytes, bool], None]) -> None:
        """Have the request body as it comes, piece by piece, and whether it ends with the piece."""


class Encoder(Protocol):
    """Changes a response body on its way."""

    def feed(self, data: bytes) -> bytes:
        """What can be sent after this piece came."""

    def finish(self) -> bytes:
        """The rest."""


class Response(Protocol):
    """A response as filters see it, before anything of it was sent. They may change all of it."""

    status: int
    reason: str
    """errors.Reason of an answer that the proxy makes itself; empty when it comes from the endpoint."""
    endpoint: str
    """`ADDRESS:PORT` of the endpoint that answered or was tried last; empty when there was none."""

    def header(self, name: str) -> str | None:
        """The value of the fields called `name` (lower case), joined if there are several."""

    def headers(self, name: str) -> list[str]:
        """Their values, one each: Set-Cookie cannot be joined."""

    def set_header(self, name: str, value: str) -> None:
        """One field with this value, in place of all with the name. Raises ValueError for a bad value."""

    def add_header(self, name: str, value: str) -> None:
        """One field more. Raises ValueError for a bad value."""

    def remove_header(self, name: str) -> None:
        """No field with the name."""

    def set_fixed(self, fixed: FixedFields) -> None:
        """As `set_header` for each of them, which are alike for all responses; their names differ."""

    def add_fixed(self, fixed: FixedFields) -> None:
        """As `add_header` for each of them."""

    def remove_all(self, names: Set[str]) -> None:
        """No field with one of these names (lower case)."""

    def encode(self, encoder: Encoder) -> None:
        """Send the body through `encoder`; its length is not known then. Later encoders come after earlier ones."""


@dataclass(frozen=True, slots=True)
class Detour:
    """Another request, whose response the client gets in place of the one that was at hand."""

    pool: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    """Sent beside the client's own fields, in place of those with the same names."""


Verdict = LocalReply | None


class RequestFilter(Protocol):
    """Sees a request before an endpoint is picked. str() says what it does, in a few words.

    One whose class has a true attribute `asks` asks somebody or counts something: `explain` only tells of it.
    One whose class has a true attribute `balances` only says which endpoint it should be: a canary has its own.
    """

    def on_request(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """Answer in place of the endpoint, or None to let the request pass; or something to wait for that does."""


class ResponseFilter(Protocol):
    """Sees a response before it is sent, also one that the proxy made itself.

    One that has a true attribute `constant` only changes fields, and does so alike for all requests and whatever the
    status is: what it makes of a head that comes again is not made again.
    """

    def on_response(self, request: Request, response: Response) -> LocalReply | Detour | None:
        """None when what was changed in `response` is all."""


Filter = RequestFilter | ResponseFilter


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation, under each of the prefixes."""

    name: str
    parse: Callable[[str], Any]
    """The value's meaning. Raises ValueError, whose text continues `... must be`."""
    summary: str
    """What it does, in one sentence; the reference page shows it."""
    default: str = ""
    """What holds without it, as people would write it."""
    guard: bool = False
    """It keeps somebody out: with a value that is not understood the route answers 503, it is not left open."""
    selects: bool = False
    """It says which requests the Ingress takes: with a value that is not understood it takes none."""
    native: bool = False
    """ingress-nginx has none with this name: only under `ingressd.dev/`."""
    note: str = ""
    """Where it differs from ingress-nginx, in a sentence."""


class Unusable(ValueError):
    """A value that was understood cannot be used here. The text is a sentence for people."""

    def __init__(self, annotation: str, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.annotation = annotation
        """Its name without prefix."""
        self.hint = hint


class Lookup(Protocol):
    """What other objects say that annotations name. Whoever asks is asked again when the answer changes."""

    def secret(self, name: str, annotation: str) -> Mapping[str, bytes]:
        """The decoded data of the Secret `NAME` or `NAMESPACE/NAME`. Raises Unusable."""

    def config_map(self, name: str, annotation: str) -> Mapping[str, str]:
        """The data of the ConfigMap `NAME` or `NAMESPACE/NAME`. Raises Unusable."""

    def pool(self, service: str, port: str, annotation: str) -> str:
        """The id of the pool of a Service; without a port, of its first. Raises Unusable.

        `service`: its name, in the namespace of the Ingress, or its name in DNS (`NAME.NAMESPACE.svc`).
        """

    def default_pool(self, annotation: str) -> str:
        """The id of the pool of --default-backend; empty = there is none."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a filter is going to work."""

    host: str
    tls: bool
    """The host has TLS by some Ingress."""
    https: bool
    """We listen for HTTPS ourselves."""
    https_redirect_port: int
    """Port of HTTPS as clients see it, ours or that of a proxy in front of us."""
    namespace: str = ""
    ingress: str = ""
    path: str = "/"
    """As the rule has it."""
    path_type: str = "Prefix"
    regex: bool = False
    """The path is a regular expression."""
    pool: str = ""
    """Id of the route's pool."""
    nginx: bool = False
    """The Ingress was written for ingress-nginx: its class or one of its annotations says so."""
    allowed_response_headers: frozenset[str] = frozenset()
    """Lower case: what custom-headers may set."""
    limit_status: int = 503
    """Above a limit, unless the Ingress says another one."""
    lookup: Lookup | None = field(default=None, compare=False, repr=False)


class FilterSpec:
    """A filter's declaration, or that of annotations which refine the route's policy. One a file, called SPEC."""

    name: ClassVar[str]
    """As the reference page shows it."""
    annotations: ClassVar[tuple[Annotation, ...]]
    """Those that it reads. It is asked when one of them is set."""
    always: ClassVar[bool] = False
    """It is asked for every route."""
    by_path: ClassVar[bool] = False
    """What it builds depends on the path of the route, not on the host alone."""

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        """The filter of a route; None when nothing asks for it. `values`: parsed annotations by name.

        Raises Unusable.
        """
        return None

    def refine(self, values: Mapping[str, Any], policy: RoutePolicy) -> RoutePolicy:
        """The route's policy with what these annotations say. Raises Unusable."""
        return policy

    def vary(self, values: Mapping[str, Any], lookup: Lookup, variant: PoolVariant) -> PoolVariant:
        """How the endpoints are reached, with what these annotations say. Raises Unusable."""
        return variant

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        """What does not work quite as it is written, for a warning each."""
        return ()
