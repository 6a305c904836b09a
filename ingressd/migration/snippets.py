"""A snippet of nginx's configuration becomes proposals: annotations that do the same, or why there are none.

In: the value of configuration-snippet and its kin. Out: Proposals, one a directive. No text makes it raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ingressd.migration.blocks import where_of, whole_answer
from ingressd.migration.directives import Arguments, draft_of
from ingressd.migration.nginx_syntax import Directive, parse
from ingressd.migration.proposals import Already, Cannot, Draft, Proposal, Verdict, checked

_SEVERAL = frozenset({"more_set_headers", "more_set_input_headers"})
"""One directive for several fields."""


class Reading(NamedTuple):
    """What a snippet says."""

    proposals: tuple[Proposal, ...]
    problems: tuple[str, ...]
    """What nginx would refuse."""


def read_snippet(text: str, *, for_service: bool = False) -> Reading:
    """Propose something for each directive of `text`. `for_service`: it is about requests for auth-url."""
    directives, problems = parse(text)
    found = _for_service(directives) if for_service else _of_all(directives)
    return Reading(tuple(found), problems)


def _for_service(directives: Iterable[Directive]) -> Iterator[Proposal]:
    """Annotations for endpoints would say nothing to the service that is asked."""
    for each in directives:
        why = "the service that is asked has timeouts and buffers of its own, and gets no body"
        if each.name == "proxy_set_header":
            why = "write the field into a ConfigMap, and its name into auth-proxy-set-headers"
        yield _told(each, Verdict.NONE, why)


def _of_all(directives: Iterable[Directive], where: str = "") -> Iterator[Proposal]:
    every = [*_split(directives)]
    closes = any(each.name == "deny" and each.arguments == ("all",) for each in every)
    allows = any(each.name == "allow" and each.arguments != ("all",) for each in every)
    for each in every:
        if each.block is not None:
            yield from _block(each, where)
        elif each.name == "deny" and each.arguments == ("all",) and allows:
            yield _told(each, Verdict.ALREADY, "an allowlist keeps all others out")
        elif each.name == "allow" and not closes and each.arguments != ("all",):
            yield _told(each, Verdict.ALREADY, "without `deny all` everybody is let in")
        else:
            yield _single(each, where)


def _split(directives: Iterable[Directive]) -> Iterator[Directive]:
    for each in directives:
        if each.name in _SEVERAL and not any(word.startswith("-") for word in each.arguments):
            for word in each.arguments:
                yield replace(each, words=(each.name, word))
        else:
            yield each


def _single(directive: Directive, where: str) -> Proposal:
    try:
        draft = draft_of(directive.name, directive.arguments)
        if directive.name == "rewrite":
            where, draft = _moved(directive.arguments, where, draft)
        annotations = checked(draft)
    except Already as why:
        return _told(directive, Verdict.ALREADY, str(why))
    except Cannot as why:
        return _told(directive, Verdict.NONE, str(why))
    verdict = Verdict.APART if where else Verdict.REPLACED
    return Proposal(str(directive), directive.line, verdict, annotations, where, draft.remark)


def _moved(arguments: Arguments, where: str, draft: Draft) -> tuple[str, Draft]:
    """A rewrite is for the paths that its expression takes."""
    if where:
        raise Cannot("a rewrite inside of another condition has no counterpart")
    path = arguments[0].removeprefix("^")
    if not path.startswith("/"):
        raise Cannot("a rewrite that is not for the beginning of a path has no counterpart")
    captures = any(f"${number}" in value for number in range(1, 10) for value in draft.annotations.values())
    if captures and "rewrite-target" not in draft.annotations:
        target = next(iter(draft.annotations.values()))
        draft = Draft({"rewrite-target": target}, "a target that is a URL is redirected to, with 302")
        if not target.startswith(("http://", "https://", "$scheme")):
            raise Cannot("a redirect with captures has to be to a URL with scheme and host")
    text = f"an Ingress of its own with the path {path} (ImplementationSpecific)"
    return text, Draft({"use-regex": "true", **draft.annotations}, draft.remark)


def _block(directive: Directive, where: str) -> Iterator[Proposal]:
    if directive.code:
        yield _told(directive, Verdict.NONE, "it is a program: write a plug-in in Python (ingressd.dev/filters)")
        return
    try:
        short = whole_answer(directive)
        if short is not None and not where:
            annotations = checked(Draft(short))
            yield Proposal(str(directive), directive.line, Verdict.REPLACED, annotations)
            return
        if where:
            raise Cannot("a condition inside of another one has no counterpart")
        apart = where_of(directive)
        annotations = checked(Draft(apart.annotations))
    except Cannot as why:
        yield _told(directive, Verdict.NONE, str(why))
        return
    # What takes the requests belongs to what is done with them.
    text = apart.text + "".join(f", {name}: {value}" for name, value in annotations)
    inside = [*_of_all(directive.block or (), text)]
    if any(each.annotations for each in inside) and annotations:
        yield Proposal(str(directive), directive.line, Verdict.APART, annotations, text)
    yield from inside


def _told(directive: Directive, verdict: Verdict, why: str) -> Proposal:
    return Proposal(str(directive), directive.line, verdict, remark=why)
