"""auth-url and the auth- family: a service says who may pass (nginx's auth_request).

In: a request. Out: 2xx of the service lets it pass, with fields of the service's answer for the endpoint; 401 and 403
are the client's answer, or a redirect to where people sign in; anything else, and silence, is 500: never open.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ingressd.errors import LocalReply, Reason
from ingressd.filters.auth_request import GUARDED, Answer, AuthRequest
from ingressd.filters.base import Annotation, Filter, FilterSpec, Request, Response, Services, Site, Unusable, Verdict
from ingressd.filters.destination import Destination
from ingressd.filters.guard import alone
from ingressd.filters.recent import Recent
from ingressd.filters.values import boolean, choice, items, whole
from ingressd.filters.variables import Template
from ingressd.http.field_rules import FRAMING, HOP_BY_HOP, valid_name

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REDIRECT_PARAMETER = "rd"
DURATIONS = "200 202 401 5m"
REMEMBERED = 10_000
"""Answers that a worker keeps."""

_COOKIES = "ingressd.filters.external_auth"
"""Key of the cookies that the service gave, from the request to its response; and of the worker's answers."""
_WITH_COOKIES = frozenset({200, 201, 204, 206, 301, 302, 303, 304, 307, 308})
"""nginx's add_header without `always`."""
_USUAL_STATUSES = (200, 301, 302)
"""proxy_cache_valid without a status."""
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_592_000, "y": 31_536_000, "ms": 0.001}
_ANY = 0
"""`any` status."""

_duration = re.compile(r"(?=[0-9])(?:[0-9]{1,9}(?:ms|[smhdwMy]))*(?:[0-9]{1,9})?").fullmatch
"""Only the last number may have no unit: there is one way to read it, however long it is."""
_duration_parts = re.compile(r"([0-9]{1,9})(ms|[smhdwMy])?").findall
_word = re.compile(r"[A-Za-z0-9_.~-]+").fullmatch
_query_parameter = re.compile(r"[?&]([^=&#]*)=").findall


@dataclass(frozen=True, slots=True)
class ExternalAuth:
    """The auth- annotations of an Ingress."""

    ask: AuthRequest
    signin: Template | None = None
    """Where people sign in, with where they came from; None = they get the 401."""
    always_cookie: bool = False
    cache_key: Template | None = None
    durations: tuple[tuple[int, float], ...] = ()
    """Status -> seconds for which such an answer holds."""
    asks: ClassVar[bool] = True
    grants: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"external-auth: {self.ask.method} {self.ask.destination}"

    def cleanse(self, request: Request) -> None:
        """See Guard: what the service says to the endpoint, a client cannot say."""
        for name in self.ask.wanted:
            request.remove_header(name)

    def check(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """See Guard."""
        if request.header(GUARDED.lower()) is not None:
            return LocalReply(500, Reason.AUTH_UNAVAILABLE, "the authentication service is guarded by itself")
        key = self._key(request)
        known = None if key is None else _answers(request.services).get(key, request.began)
        return self._asked(request, key) if known is None else self._verdict(request, known)

    def on_request(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """What the service says."""
        self.cleanse(request)
        return self.check(request)

    def on_response(self, request: Request, response: Response) -> None:
        """The service's cookies are for the client."""
        if self.always_cookie or response.status in _WITH_COOKIES:
            for cookie in request.notes.get(_COOKIES, ()):
                response.add_header("Set-Cookie", cookie)

    async def _asked(self, request: Request, key: bytes | None) -> Verdict:
        answer = await self.ask.answer(request)
        if key is not None:
            seconds = dict(self.durations).get(answer.status, dict(self.durations).get(_ANY, 0.0))
            if seconds:
                # Cookies are one client's, as nginx caches none either.
                kept = Answer(answer.status, answer.challenges, answer.headers, ())
                _answers(request.services).put(key, kept, request.began + seconds)
        return self._verdict(request, answer)

    def _key(self, request: Request) -> bytes | None:
        """Under which an answer is kept; None = it is not: nobody is told by their lack of a key."""
        if self.cache_key is None:
            return None
        rendered = self.cache_key.render(request)
        if not rendered:
            return None
        own = "\n".join((repr(self), request.host, rendered))
        return hashlib.sha256(own.encode("utf-8", "surrogatepass")).digest()

    def _verdict(self, request: Request, answer: Answer) -> Verdict:
        status = answer.status
        if answer.cookies:
            request.notes[_COOKIES] = answer.cookies
        if 200 <= status < 300:
            for name, value in answer.headers:
                request.set_header(name, value)
            return None
        if status == 401 and self.signin is not None:
            location = self.signin.render(request).encode("latin-1", "replace")
            return LocalReply(302, Reason.AUTH_FAILED, "sign in first", headers=((b"Location", location),))
        if status == 401:
            challenges = tuple((b"WWW-Authenticate", each.encode("latin-1")) for each in answer.challenges)
            return LocalReply(401, Reason.AUTH_FAILED, "authentication is needed", headers=challenges)
        if status == 403:
            return LocalReply(403, Reason.AUTH_FAILED, "the authentication service refuses this request")
        return LocalReply(500, Reason.AUTH_UNAVAILABLE, "the authentication service gave no verdict")


def _answers(services: Services) -> Recent[bytes, Answer]:
    answers: Recent[bytes, Answer] | None = services.memory.get(_COOKIES)
    if answers is None:
        answers = services.memory[_COOKIES] = Recent(REMEMBERED)
    return answers


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(item.lower() for item in items(text)))
    unfit = HOP_BY_HOP | FRAMING | {b"host", b"connection", b"upgrade"}
    for name in names:
        raw = name.encode("utf-8", "replace")
        if valid_name(raw) is None or raw in unfit:
            raise ValueError(f"names of fields that may be set, with commas between them: not {name}")
    if not names:
        raise ValueError('names of fields with commas between them, as in "X-User, X-Email"')
    return names


def _signin(text: str) -> Template:
    template = Template.parse(text.strip())
    if (
        not re.match(r"https?://[^/]|/(?!/)|\$", template.text)
        or not template.text.isprintable()
        or " " in template.text
    ):
        raise ValueError('a URL, as in "https://auth.example/start"')
    return template


def _parameter(text: str) -> str:
    if _word(text):
        return text
    raise ValueError("a name of letters, digits, `-`, `.`, `_` and `~`")


def _durations(text: str) -> tuple[tuple[int, float], ...]:
    durations: dict[int, float] = {}
    for item in items(text):
        *statuses, length = item.split()
        if not _duration(length):
            raise ValueError(f'statuses and how long such an answer holds, as in "{DURATIONS}": not {item}')
        seconds = sum(int(number) * _UNITS_S[unit] for number, unit in _duration_parts(length))
        for status in statuses or map(str, _USUAL_STATUSES):
            if status != "any" and not (status.isascii() and status.isdigit() and len(status) == 3):
                raise ValueError(f'statuses and how long such an answer holds, as in "{DURATIONS}": not {item}')
            durations[_ANY if status == "any" else int(status)] = seconds
    if not durations:
        raise ValueError(f'statuses and how long such an answer holds, as in "{DURATIONS}"')
    return tuple(sorted(durations.items()))


def _text(what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip():
            return text.strip()
        raise ValueError(what)

    return parse


def _with_origin(signin: Template, parameter: str) -> Template:
    """The URL with where the client wanted to go, unless it says it itself."""
    text = signin.text
    if parameter in _query_parameter(text):
        return signin
    sign = "&" if "?" in text else "?"
    return Template.parse(f"{text}{sign}{parameter}=$pass_access_scheme://$best_http_host$escaped_request_uri")


def _set_headers(name: str, site: Site) -> tuple[tuple[str, Template], ...]:
    """The fields of a ConfigMap. Raises Unusable."""
    annotation, lookup = "auth-proxy-set-headers", site.lookup
    assert lookup is not None
    made: list[tuple[str, Template]] = []
    for field, value in lookup.config_map(name, annotation).items():
        raw = field.lower().encode("utf-8", "replace")
        if valid_name(raw) is None or raw in FRAMING or raw in HOP_BY_HOP:
            raise Unusable(annotation, f"the ConfigMap {name}: {field} is no field that can be set")
        if not value.strip().isprintable():
            raise Unusable(annotation, f"the ConfigMap {name}: the value of {field} is more than one line")
        try:
            made.append((field.lower(), Template.parse(value.strip())))
        except ValueError as problem:
            raise Unusable(annotation, f"the ConfigMap {name}: the value of {field} must be {problem}") from None
    return tuple(made)


def asked_of(values: Mapping[str, Any], site: Site) -> ExternalAuth | None:
    """The guard that the annotations ask for. Raises Unusable."""
    destination: Destination | None = values.get("auth-url")
    if destination is None:
        return None
    headers = values.get("auth-proxy-set-headers")
    signin = values.get("auth-signin")
    return ExternalAuth(
        ask=AuthRequest(
            destination.at(site, "auth-url"),
            values.get("auth-method", "GET"),
            values.get("auth-response-headers", ()),
            () if headers is None else _set_headers(headers, site),
            values.get("auth-request-redirect"),
        ),
        signin=signin and _with_origin(signin, values.get("auth-signin-redirect-param", REDIRECT_PARAMETER)),
        always_cookie=values.get("auth-always-set-cookie", False),
        cache_key=values.get("auth-cache-key"),
        durations=values.get("auth-cache-duration", _durations(DURATIONS)),
    )


_OURS = "Connections to the service are always kept; how many and how long is ours to say."


class _Spec(FilterSpec):
    name = "external-auth"
    annotations = (
        Annotation(
            "auth-url",
            Destination.parse,
            "the URL that is asked about every request; nginx's variables are allowed, in the host only `$host`",
            "nobody is asked",
            guard=True,
            note="The name of a Service in the manifests, NAME.NAMESPACE.svc, leads to its endpoints."
            " A certificate must be valid.",
        ),
        Annotation("auth-method", choice(*METHODS), "the method to ask with", "GET", guard=True),
        Annotation("auth-signin", _signin, "where people are sent on a 401", "the 401 is answered"),
        Annotation(
            "auth-signin-redirect-param",
            _parameter,
            "the parameter of auth-signin that says where the client wanted to go",
            REDIRECT_PARAMETER,
        ),
        Annotation(
            "auth-response-headers",
            _names,
            "fields of the service's answer that the endpoint gets",
            "none",
            guard=True,
            note="A client cannot send them itself, also when the service did not.",
        ),
        Annotation(
            "auth-proxy-set-headers",
            _text('the name of a ConfigMap, as in "default/auth-headers"'),
            "the ConfigMap with fields for the service; values may have nginx's variables",
            "none",
            guard=True,
        ),
        Annotation("auth-request-redirect", Template.parse, "X-Auth-Request-Redirect for the service", "$request_uri"),
        Annotation(
            "auth-always-set-cookie",
            boolean,
            "give the service's cookies to the client with any answer, not only with 2xx and 3xx",
            "false",
            note="Each of several cookies is passed on.",
        ),
        Annotation(
            "auth-cache-key",
            Template.parse,
            "keep answers of the service under this text, as in `$cookie_session`",
            "no answer is kept",
            note="A request for which the text is empty is always asked about. Cookies are not kept.",
        ),
        Annotation("auth-cache-duration", _durations, "how long which answers hold", DURATIONS),
        Annotation("auth-keepalive", whole(), "accepted, and without effect", "0", note=_OURS),
        Annotation("auth-keepalive-requests", whole(), "accepted, and without effect", "1000", note=_OURS),
        Annotation("auth-keepalive-timeout", whole(), "accepted, and without effect", "60", note=_OURS),
        Annotation("auth-keepalive-share-vars", boolean, "accepted, and without effect", "false", note=_OURS),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        return asked_of(values, site) if alone(values) else None

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        first = next((each.name for each in self.annotations if each.name in values), "")
        if first and "auth-url" not in values:
            yield Unusable(
                first, "it has no effect, because nobody is asked without auth-url", "add it, or remove this"
            )


SPEC = _Spec()
