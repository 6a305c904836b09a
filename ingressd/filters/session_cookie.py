"""affinity, session-cookie-*: a cookie keeps a client with the endpoint that it had.

In: the client's cookie, if there is one. Out: an Affinity, and a Set-Cookie when the session begins or has moved.
No worker remembers anything: all is in the cookie, `TOKEN.MARK.TAG` or `MARK.TAG`. TOKEN is chance, and its hash finds
the endpoint (balanced); MARK says which endpoint it was, TAG for which pool that holds. They are digests, so that no
address is seen at a glance; whoever makes one up only chooses an endpoint.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from ingressd.filters.base import Annotation, E, Filter, FilterSpec, Request, Response, Site, Unusable
from ingressd.filters.rendezvous import KEYS, best, digest
from ingressd.filters.values import boolean, choice, whole
from ingressd.http import cookies

NAME = "INGRESSCOOKIE"
BALANCED = "balanced"
PERSISTENT = "persistent"
STICKY = "sticky"
LEGACY = "legacy"

_DRAWS = 32
"""For a token whose endpoint was not tried. With half of the endpoints tried, one draw in two finds one."""
_PLAIN = cookies.Attributes()
_TOKEN = re.compile(r"[0-9a-f]{16}")


@lru_cache(KEYS)
def tag_of(pool: str) -> str:
    """What cookies for the endpoints of a pool end with."""
    return f"{digest(pool):016x}"


@lru_cache(KEYS)
def mark_of(endpoint: str, tag: str) -> str:
    """What a cookie says about an endpoint."""
    return f"{digest(endpoint, tag.encode()):016x}"


class Session:
    """See filters.base.Affinity. What the cookie of one request says, and what becomes of it."""

    __slots__ = ("_alive", "_change", "_first", "_persistent", "_tried", "mark", "tag", "token")

    def __init__(self, tag: str, token: str, mark: str, *, persistent: bool, change: bool) -> None:
        self.tag = tag
        self.token = token
        """Empty: chance has still to decide it."""
        self.mark = mark
        """Of the endpoint that it was; empty = the session begins."""
        self._persistent = persistent
        self._change = change
        self._alive = False
        """That endpoint serves."""
        self._tried = False
        self._first = True

    def choose(self, endpoints: Sequence[E], tried: Collection[E]) -> E | None:
        """See Affinity."""
        known = None
        if self.mark:
            known = next((each for each in endpoints if mark_of(each.key, self.tag) == self.mark), None)
        if self._first:
            self._first = False
            self._alive = known is not None
            if not self._persistent and (known is None or not self.token):
                self.token = secrets.token_hex(8)
        self._tried = bool(tried)
        if self._persistent:
            return None if known is None or known in tried else known
        found = best(self.token, endpoints)
        if found is None or found not in tried:
            return found
        if self.keeps:
            return best(self.token, endpoints, tried)
        for _ in range(_DRAWS):
            token = secrets.token_hex(8)
            found = best(token, endpoints)
            if found is not None and found not in tried:
                self.token = token
                return found
        return best(self.token, endpoints, tried)

    @property
    def keeps(self) -> bool:
        """Another endpoint answers for once: the session does not move."""
        return self._alive and self._tried and not self._change

    def cookie(self, endpoint: str) -> str:
        """The cookie's value, when the session is now at `endpoint`; empty = it need not be set."""
        mark = mark_of(endpoint, self.tag)
        if mark == self.mark or self.keeps:
            return ""
        return f"{mark}.{self.tag}" if self._persistent else f"{self.token}.{mark}.{self.tag}"


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """Keeps clients with their endpoints by the cookie `name`."""

    balances: ClassVar[bool] = True
    name: str = NAME
    persistent: bool = False
    """A session moves only when its endpoint is gone; otherwise some move when endpoints are added."""
    change_on_failure: bool = False
    sticky: bool = True
    """The session comes before the rules of canaries."""
    secure: bool | None = None
    """None = where the request came by https."""
    attributes: cookies.Attributes = _PLAIN

    def __str__(self) -> str:
        return f"session cookie {self.name} ({PERSISTENT if self.persistent else BALANCED})"

    def on_request(self, request: Request) -> None:
        """Prefer the endpoint of the client's session."""
        route = request.route
        if route is not None:
            tag = tag_of(route.pool)
            token, mark = self._known(request, tag)
            session = Session(tag, token, mark, persistent=self.persistent, change=self.change_on_failure)
            request.prefer(session)

    def on_response(self, request: Request, response: Response) -> None:
        """Set the cookie when the session began, or is at another endpoint now."""
        session = request.preferred
        if not isinstance(session, Session) or response.reason or not response.endpoint:
            return
        value = session.cookie(response.endpoint)
        if value:
            secure = request.scheme == "https" if self.secure is None else self.secure
            attributes = self.attributes._replace(secure=secure)
            response.add_header("Set-Cookie", cookies.set_cookie(self.name, value, attributes, time.time()))

    def _known(self, request: Request, tag: str) -> tuple[str, str]:
        """Token and mark of the client's cookie. There may be others with the name, of other routes."""
        for value in cookies.values(request.header("cookie"), self.name):
            parts = value.split(".")
            if parts[-1] == tag and len(parts) == (2 if self.persistent else 3):
                token = "" if self.persistent else parts[0]
                if self.persistent or _TOKEN.fullmatch(token):
                    return token, parts[-2]
        return "", ""


def _name(text: str) -> str:
    if not cookies.valid_name(text):
        raise ValueError(f'the name of a cookie, as in "{NAME}"')
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or not cookies.valid_attribute(text):
        raise ValueError('a path, as in "/"')
    return text


def _domain(text: str) -> str:
    if not re.fullmatch(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        raise ValueError('a host, as in "example.com"')
    return text


def _same_site(text: str) -> str:
    word = text.capitalize()
    if word not in ("None", "Lax", "Strict"):
        raise ValueError("one of None, Lax, Strict")
    return word


class _Spec(FilterSpec):
    name = "session-cookie"
    by_path = True
    annotations = (
        Annotation("affinity", choice("cookie"), "keep each client with the endpoint that it had, by a cookie"),
        Annotation(
            "affinity-mode",
            choice(BALANCED, PERSISTENT),
            "balanced: some sessions move when endpoints are added; persistent: only those of endpoints that are gone",
            BALANCED,
        ),
        Annotation(
            "affinity-canary-behavior",
            choice(STICKY, LEGACY),
            "sticky: a session that began stays where it is, whatever canary rules say; legacy: canary rules decide"
            " for each request",
            STICKY,
        ),
        Annotation("session-cookie-name", _name, "name of the cookie", NAME),
        Annotation(
            "session-cookie-path",
            _path,
            "Path of the cookie",
            "the path of the rule",
            note="where paths are regular expressions the default is `/`",
        ),
        Annotation("session-cookie-domain", _domain, "Domain of the cookie"),
        Annotation("session-cookie-samesite", _same_site, "SameSite of the cookie: None, Lax or Strict"),
        Annotation(
            "session-cookie-conditional-samesite-none",
            boolean,
            "leave SameSite=None out for browsers that refuse it",
            "false",
            note="accepted, without effect: those browsers are from 2019 and before",
        ),
        Annotation(
            "session-cookie-secure",
            boolean,
            "Secure of the cookie",
            "true for requests by https",
        ),
        Annotation("session-cookie-max-age", whole(), "Max-Age of the cookie in seconds; without it, a session"),
        Annotation("session-cookie-expires", whole(), "Expires of the cookie, in seconds from now"),
        Annotation(
            "session-cookie-change-on-failure",
            boolean,
            "move the session when another endpoint had to answer",
            "false",
        ),
        Annotation("session-cookie-partitioned", boolean, "Partitioned of the cookie", "false"),
    )

    def build(self, values: Mapping[str, Any], site: Site) -> Filter | None:
        if not values.get("affinity") or values.get("service-upstream", False):
            return None
        return SessionCookie(
            name=values.get("session-cookie-name", NAME),
            persistent=values.get("affinity-mode", BALANCED) == PERSISTENT,
            change_on_failure=values.get("session-cookie-change-on-failure", False),
            sticky=values.get("affinity-canary-behavior", STICKY) == STICKY,
            secure=values.get("session-cookie-secure"),
            attributes=cookies.Attributes(
                path=values.get("session-cookie-path", _default_path(site)),
                domain=values.get("session-cookie-domain", ""),
                same_site=values.get("session-cookie-samesite", ""),
                max_age_s=values.get("session-cookie-max-age"),
                expires_s=values.get("session-cookie-expires"),
                partitioned=values.get("session-cookie-partitioned", False),
            ),
        )

    def remarks(self, values: Mapping[str, Any], site: Site) -> Iterable[Unusable]:
        if values.get("affinity") and site.regex and "session-cookie-path" not in values:
            text = "the path is a regular expression, which is no path of a cookie: the cookie is set for `/`"
            yield Unusable("affinity", text, 'write session-cookie-path, as in "/"')


def _default_path(site: Site) -> str:
    return site.path if not site.regex and cookies.valid_attribute(site.path) else "/"


SPEC = _Spec()
