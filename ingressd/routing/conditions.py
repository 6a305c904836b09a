"""Conditions: which requests of a host and path an alternative of its route takes.

In: a request. Out: yes or no; str() says it in the words of `explain`. They are pure, but for the shares of canaries,
which go by chance and say so: `by_chance`.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import ClassVar, Protocol
from urllib.parse import unquote_plus

from ingressd.http import cookies

HEADER = "header"
QUERY = "query"

ALWAYS = "always"
NEVER = "never"
"""The two words of canary-by-header and canary-by-cookie."""

SEARCHED = 512
"""Characters of a value that a pattern is looked for in: the cost of a search can grow with their square."""

DICE = random.Random()
"""Where shares draw from."""


class Request(Protocol):
    """A request, as conditions see it."""

    @property
    def method(self) -> str:
        """As sent."""

    def header(self, name: str) -> str | None:
        """The value of a field, by its name in lower case; None: it was not sent."""

    def cookie(self, name: str) -> str | None:
        """The value of a cookie."""

    def argument(self, name: str) -> str | None:
        """The value of a parameter of the query, not decoded."""


class Condition(Protocol):
    """What an Alternative asks."""

    by_chance: ClassVar[bool]
    """It may answer otherwise for the next request that is the same."""

    def takes(self, request: Request) -> bool:
        """Whether the request is the alternative's."""


def found_in(pattern: re.Pattern[str], value: str) -> bool:
    """Whether `pattern` is somewhere in `value`; a value that is too long has none."""
    return len(value) <= SEARCHED and pattern.search(value) is not None


@dataclass(frozen=True, slots=True)
class Methods:
    """One of some methods."""

    by_chance: ClassVar[bool] = False
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"method {' or '.join(self.names)}"

    def takes(self, request: Request) -> bool:
        """See Condition."""
        return request.method in self.names


@dataclass(frozen=True, slots=True)
class Field:
    """A header or a parameter of the query: there, with this value, or with one in which the pattern is found."""

    by_chance: ClassVar[bool] = False
    part: str
    """HEADER or QUERY."""
    name: str
    value: str | None = None
    """None = any."""
    pattern: re.Pattern[str] | None = None

    def __str__(self) -> str:
        if self.pattern is not None:
            return f"{self.part} {self.name} like {self.pattern.pattern}"
        return f"{self.part} {self.name}" if self.value is None else f"{self.part} {self.name}={self.value}"

    def takes(self, request: Request) -> bool:
        """See Condition."""
        if self.part == HEADER:
            found = request.header(self.name)
        else:
            sent = request.argument(self.name)
            found = None if sent is None else unquote_plus(sent)
        if found is None:
            return False
        if self.pattern is not None:
            return found_in(self.pattern, found)
        return self.value is None or found == self.value


@dataclass(frozen=True, slots=True)
class All:
    """Several conditions at once; none at all is a rule that never takes anything: its words were not understood."""

    by_chance: ClassVar[bool] = False
    conditions: tuple[Methods | Field, ...]

    def __str__(self) -> str:
        return " and ".join(str(condition) for condition in self.conditions) or "nothing"

    def takes(self, request: Request) -> bool:
        """See Condition."""
        return bool(self.conditions) and all(condition.takes(request) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Sticky:
    """The cookie of a session says where it began, and there it goes on, whatever canaries say."""

    cookie: str
    own: str
    """How its value ends where this canary has the session."""
    others: tuple[str, ...]
    """How it ends where another route of the same rule has it."""

    def verdict(self, request: Request) -> bool | None:
        """True: here. False: elsewhere. None: nowhere yet."""
        for value in cookies.values(request.header("cookie"), self.cookie):
            tag = value.rpartition(".")[2]
            if tag == self.own:
                return True
            if tag in self.others:
                return False
        return None


@dataclass(frozen=True, slots=True)
class Canary:
    """The rules of one canary Ingress: its header decides before its cookie, and both before its weight."""

    header: str = ""
    value: str = ""
    """Of the header; empty = `always` and `never` decide."""
    pattern: re.Pattern[str] | None = None
    """Of the header, where no value is given."""
    broken: bool = False
    """There is a pattern, and it is none: requests with the header are not the canary's."""
    cookie: str = ""
    weight: int = 0
    total: int = 100

    def __str__(self) -> str:
        words = []
        if self.broken and not self.value:
            pass  # it has no value that would do
        elif self.header and self.value:
            words.append(f"header {self.header}={self.value}")
        elif self.header and self.pattern is not None:
            words.append(f"header {self.header} like {self.pattern.pattern}")
        elif self.header:
            words.append(f"header {self.header}={ALWAYS}")
        if self.cookie:
            words.append(f"cookie {self.cookie}={ALWAYS}")
        return " or ".join(words) or "a session that began there"

    @property
    def decides(self) -> bool:
        """There is a header or a cookie that sends requests to it."""
        return bool(self.cookie or (self.header and (self.value or not self.broken)))

    @property
    def share(self) -> float:
        """Of the requests that header and cookie do not decide."""
        return min(1.0, self.weight / self.total)

    def verdict(self, request: Request) -> bool | None:
        """True: the canary's. False: not the canary's. None: its weight decides."""
        sent = request.header(self.header) if self.header else None
        if sent is not None:
            if self.value:
                if sent == self.value:
                    return True
            elif self.broken:
                return False
            elif self.pattern is not None:
                if found_in(self.pattern, sent):
                    return True
            elif sent in (ALWAYS, NEVER):
                return sent == ALWAYS
        said = request.cookie(self.cookie) if self.cookie else None
        return said == ALWAYS if said in (ALWAYS, NEVER) else None


@dataclass(frozen=True, slots=True)
class Decided:
    """Requests that are a canary's by what they say."""

    by_chance: ClassVar[bool] = False
    canary: Canary
    sticky: Sticky | None = None

    def __str__(self) -> str:
        return f"canary: {self.canary}"

    def verdict(self, request: Request) -> bool | None:
        """True: the canary's. False: not the canary's. None: its weight decides."""
        kept = None if self.sticky is None else self.sticky.verdict(request)
        return self.canary.verdict(request) if kept is None else kept

    def takes(self, request: Request) -> bool:
        """See Condition."""
        return self.verdict(request) is True


@dataclass(frozen=True, slots=True)
class Share:
    """Requests that are a canary's by chance.

    Each canary is asked by itself, and yet all have their share of one draw: of what those before it have left over,
    it takes the larger part that makes up its own.
    """

    by_chance: ClassVar[bool] = True
    rule: Decided
    before: tuple[Decided, ...] = ()
    """Canaries of the same rule with weights, which were asked first."""

    def __str__(self) -> str:
        return f"canary: {self.rule.canary.weight} of {self.rule.canary.total} requests"

    def takes(self, request: Request) -> bool:
        """See Condition."""
        if self.rule.verdict(request) is not None:
            return False
        # One that had no part in this draw has left nothing over and taken nothing.
        gone = sum(rule.canary.share for rule in self.before if rule.verdict(request) is None)
        return gone < 1 and DICE.random() * (1 - gone) < self.rule.canary.share
