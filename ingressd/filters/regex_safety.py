"""Regular expressions that people write into manifests: what one of them may cost at worst.

In: a pattern. Out: nothing, or a ValueError that says why it is refused. Python's engine tries one way after the other,
so the cost of a text that does not match is the number of ways in which its beginnings can be read. The pattern is
written out as an automaton without empty steps, and all sets of states are walked that some text leads to, each state
with the number of ways to it. That number must stay small: then the cost grows with the length of the text only.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any

MOST_CHARACTERS = 512
MOST_STATES = 1_000
"""With the repeats written out."""
MOST_WAYS = 32
"""A path of 16 KiB then takes 30 ms at worst, and a usual one some microseconds."""
MOST_TRIES = 128
"""Alternatives, over all ways, of which each is looked at for one character more."""
MOST_SETS = 4_000
_LOOKED_AROUND = 64
"""Characters that an assertion behind a repeat may look at."""

_FIRST, _LAST = 0x20, 0x7E
_OTHER = 1 << (_LAST - _FIRST + 1)
"""All characters beyond ASCII. Control characters are in no path text."""
_ALL = _OTHER * 2 - 1

_parser: Any = import_module("re._parser")
"""The standard library's own reader of patterns; it has no public name."""


@lru_cache(maxsize=65_536)
def refusal(pattern: str, flags: int = 0) -> str:
    """Why the pattern is not used, in words that continue `it`; empty = it is used."""
    if len(pattern) > MOST_CHARACTERS:
        return f"has {len(pattern)} characters, and {MOST_CHARACTERS} are the most"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            tree = _parser.parse(pattern, flags)
        _Automaton(tree, repeated=False).check()
    except re.error as problem:
        return f"is not understood: {problem.msg}" + (
            "" if problem.pos is None else f", at character {problem.pos + 1}"
        )
    except FutureWarning:
        return "has a `[`, or one of `--`, `&&`, `||`, `~~`, in a set: write a backslash before it"
    except OverflowError:
        return "repeats something too often"
    except RecursionError:
        return "is nested too deeply"
    except _Refused as problem:
        return str(problem)
    return ""


class _Refused(Exception):
    """The text continues `it`."""


@dataclass(slots=True)
class _Part:
    """A part of a pattern. Numbers count in how many ways something can be reached without reading a character."""

    first: Counter[int] = field(default_factory=Counter)
    """Behind some character."""
    begin: Counter[int] = field(default_factory=Counter)
    """At the beginning of the text, where `^` matches: those of `first`, and more."""
    last: Counter[int] = field(default_factory=Counter)
    surely_last: frozenset[int] = frozenset()
    """States behind which nothing of the part can fail any more."""
    last_at_end: frozenset[int] = frozenset()
    """States behind which nothing of the part can fail at the end of the text."""
    empty: int = 0
    """Ways to match nothing, behind some character."""
    empty_at_begin: int = 0
    """Ways to match nothing at the beginning of the text."""
    surely_empty: bool = False
    empty_at_end: bool = False


def _nothing() -> _Part:
    return _Part(empty=1, empty_at_begin=1, surely_empty=True, empty_at_end=True)


class _Automaton:
    """A state is a character of the written-out pattern: `reads` says which, `follow` what may come next."""

    def __init__(self, tree: Iterable[Any], *, repeated: bool) -> None:
        self._reads: list[int] = []
        self._any: set[int] = set()
        """States that read whatever comes."""
        self._follow: list[Counter[int]] = []
        self._repeated = repeated
        """A repeat stands before, or around."""
        self._whole = self._sequence(tree)

    # Writing out.

    def _sequence(self, tree: Iterable[Any]) -> _Part:
        whole = _nothing()
        for operation, argument in tree:
            whole = self._joined(whole, self._part(str(operation), argument))
        return whole

    def _part(self, operation: str, argument: Any) -> _Part:
        match operation:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return self._state(_characters(operation, argument), whatever=operation == "ANY")
            case "BRANCH":
                return _alternatives(self._sequence(each) for each in argument[1])
            case "SUBPATTERN":
                return self._sequence(argument[3])
            case "MAX_REPEAT" | "MIN_REPEAT":
                return self._repeat(*argument)
            case "ASSERT" | "ASSERT_NOT":
                self._look(argument[1])
                return _Part(empty=1, empty_at_begin=1)
            case "AT":
                return _at(str(argument))
            case "POSSESSIVE_REPEAT" | "ATOMIC_GROUP":
                raise _Refused("has a possessive quantifier or an atomic group: write it without")
        raise _Refused("refers to a group: write its content once more")

    def _state(self, characters: int, *, whatever: bool) -> _Part:
        number = len(self._reads)
        if number >= MOST_STATES:
            raise _Refused(f"has more than {MOST_STATES} characters when its repeats are written out")
        self._reads.append(characters)
        self._follow.append(Counter())
        if whatever:
            self._any.add(number)
        itself, surely = Counter((number,)), frozenset((number,))
        return _Part(first=itself, begin=itself, last=itself, surely_last=surely, last_at_end=surely)

    def _joined(self, one: _Part, other: _Part) -> _Part:
        self._connect(one, other)
        return _Part(
            one.first + _times(other.first, one.empty),
            one.begin + _times(other.begin, one.empty_at_begin),
            other.last + _times(one.last, other.empty),
            other.surely_last | (one.surely_last if other.surely_empty else frozenset()),
            other.last_at_end | (one.last_at_end if other.empty_at_end else frozenset()),
            one.empty * other.empty,
            one.empty_at_begin * other.empty_at_begin,
            one.surely_empty and other.surely_empty,
            one.empty_at_end and other.empty_at_end,
        )

    def _connect(self, one: _Part, other: _Part) -> None:
        for number, ways in one.last.items():
            self._follow[number].update(_times(other.first, ways))

    def _repeat(self, least: int, most: int, body: Iterable[Any]) -> _Part:
        self._repeated = self._repeated or most > 1
        whole = _nothing()
        copy = _nothing()
        for _ in range(least):
            copy = self._copy(body, most)
            whole = self._joined(whole, copy)
        if most is _parser.MAXREPEAT:
            if least:
                self._connect(copy, copy)
                return whole
            copy = self._copy(body, most)
            self._connect(copy, copy)
            return self._joined(whole, _alternatives((copy, _nothing())))
        rest = _nothing()
        for _ in range(most - least):
            rest = _alternatives((self._joined(self._copy(body, most), rest), _nothing()))
        return self._joined(whole, rest)

    def _copy(self, body: Iterable[Any], most: int) -> _Part:
        copy = self._sequence(body)
        if copy.empty_at_begin and most > 1:
            raise _Refused("repeats something that may be empty")
        return copy

    def _look(self, body: Any) -> None:
        if self._repeated and body.getwidth()[1] > _LOOKED_AROUND:
            raise _Refused(f"looks more than {_LOOKED_AROUND} characters ahead, behind a repeat or in one")
        _Automaton(body, repeated=self._repeated).check()

    # Walking.

    def check(self) -> None:
        """Raises _Refused when some text can be read in too many ways."""
        sure = self._sure()
        letters = self._letters()
        seen: set[frozenset[tuple[int, int]]] = set()
        reached = self._after(self._whole.begin, sure, letters)
        while reached:
            states = reached.pop()
            key = frozenset(states.items())
            if not states or key in seen:
                continue
            seen.add(key)
            if len(seen) > MOST_SETS:
                raise _Refused("is too complicated to say what it costs")
            if sum(states.values()) > MOST_WAYS:
                raise _Refused(_AMBIGUOUS)
            following: Counter[int] = Counter()
            for number, ways in states.items():
                for after, more in self._follow[number].items():
                    following[after] += ways * more
            reached += self._after(following, sure, letters)

    def _after(self, tried: Mapping[int, int], sure: frozenset[int], letters: Iterable[int]) -> list[dict[int, int]]:
        """Where each letter leads to, of the states that may come next. A sure one ends all trying."""
        if sum(tried.values()) > MOST_TRIES:
            raise _Refused(_AMBIGUOUS)
        doubtful = {number: ways for number, ways in tried.items() if number not in sure}
        return [
            {number: ways for number, ways in doubtful.items() if self._reads[number] & letter} for letter in letters
        ]

    def _letters(self) -> list[int]:
        """One character of each kind that no state tells apart."""
        kinds: dict[int, int] = {}
        letter = 1
        while letter <= _OTHER:
            kinds.setdefault(
                sum(1 << number for number, characters in enumerate(self._reads) if characters & letter), letter
            )
            letter <<= 1
        return list(kinds.values())

    def _sure(self) -> frozenset[int]:
        """States from which the text matches whatever comes: once there, nothing else is ever tried."""
        whole = self._whole
        sure = set(whole.last_at_end)
        while True:
            doubtful = {
                number
                for number in sure
                if not self._follow[number].keys() <= sure
                or not (number in whole.surely_last or self._follow[number].keys() & self._any)
            }
            if not doubtful:
                return frozenset(sure)
            sure -= doubtful


_AMBIGUOUS = "can read a text in too many ways: a long one that does not match would take too long"


def _alternatives(parts: Iterable[_Part]) -> _Part:
    whole = _Part()
    for part in parts:
        whole = _Part(
            whole.first + part.first,
            whole.begin + part.begin,
            whole.last + part.last,
            whole.surely_last | part.surely_last,
            whole.last_at_end | part.last_at_end,
            whole.empty + part.empty,
            whole.empty_at_begin + part.empty_at_begin,
            whole.surely_empty or part.surely_empty,
            whole.empty_at_end or part.empty_at_end,
        )
    return whole


def _at(place: str) -> _Part:
    if place in {"AT_END", "AT_END_STRING"}:
        return _Part(empty_at_end=True)
    if place in {"AT_BEGINNING", "AT_BEGINNING_STRING"}:
        return _Part(empty_at_begin=1)
    return _Part(empty=1, empty_at_begin=1)


def _times(counts: Counter[int], ways: int) -> Counter[int]:
    return Counter({number: count * ways for number, count in counts.items()}) if ways else Counter()


# Sets of characters, as bits.


def _bit(code: int) -> int:
    if code > _LAST:
        return _OTHER
    return 1 << (code - _FIRST) if code >= _FIRST else 0


def _bits(characters: str) -> int:
    return sum(_bit(ord(each)) for each in characters)


_DIGITS = _bits("0123456789")
_LETTERS = _bits("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CATEGORIES = {"DIGIT": _DIGITS, "SPACE": _bits(" "), "WORD": _DIGITS | _LETTERS | _bits("_")}


def _either_case(code: int) -> int:
    character = chr(code)
    return _bit(ord(character.lower())) | _bit(ord(character.upper())) if code <= _LAST else _OTHER


def _characters(operation: str, argument: Any) -> int:
    """Upper and lower case are not told apart: that takes more texts than the pattern does, never fewer."""
    if operation == "ANY":
        return _ALL
    if operation == "LITERAL":
        return _either_case(argument)
    if operation == "NOT_LITERAL":
        return _ALL & ~_bit(argument) | (_OTHER if argument > _LAST else 0)
    found, negated, all_others = 0, False, False
    for kind, value in argument:
        match str(kind):
            case "NEGATE":
                negated = True
            case "LITERAL":
                found |= _bit(value) if negated else _either_case(value)
            case "RANGE":
                low, high = value
                found |= _OTHER if high > _LAST else 0
                for code in range(low, min(high, _LAST) + 1):
                    found |= _bit(code) if negated else _either_case(code)
            case "CATEGORY":
                name = str(value).removeprefix("CATEGORY_")
                inverse = name.startswith("NOT_")
                own = _CATEGORIES[name.removeprefix("NOT_")]
                found |= _ALL & ~own if inverse else own
                all_others = all_others or inverse
    if not negated:
        return found
    return _ALL & ~found | (0 if all_others else _OTHER)
