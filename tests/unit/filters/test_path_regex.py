"""Paths as expressions: nginx's anchor, what is translated from PCRE, what an expression begins with."""

from __future__ import annotations

import pytest

from ingressd.filters.path_regex import literal_text, path_regex
from ingressd.http.path_text import expression


@pytest.mark.parametrize(
    ("path", "taken", "left"),
    [
        ("/foo", ["/foo", "/FOOBAR", "/foo/x"], ["/x/foo", "/fo"]),
        ("/foo$", ["/foo"], ["/foo/"]),
        (r"/foo\z", ["/foo"], ["/foo/"]),
        ("/foo|/bar", ["/foo", "/bar", "/x/bar"], ["/x/foo"]),
        ("/(foo|bar)", ["/foo", "/bar"], ["/x/bar"]),
        (r"/[|]|/a\|b", ["/|", "/a|b", "/x/a|b"], ["/b", "/x/|"]),
        ("/(?i)foo", ["/foo", "/Foo"], ["/bar"]),
        ("/(?<name>[a-z]+)/x", ["/abc/x"], ["/1/x"]),
        (r"/\(?<b", ["/(<b", "/<b"], ["/b"]),
        ("/[]a]", ["/]", "/a"], ["/b"]),
    ],
)
def test_a_path_takes_what_nginx_takes_with_an_anchor_before_it(path: str, taken: list[str], left: list[str]) -> None:
    matches = expression(path_regex(path).location).match
    assert [text for text in (*taken, *left) if matches(text)] == taken


def test_captures_are_the_same_whether_a_path_is_matched_or_rewritten() -> None:
    regex = path_regex("/a/(.*)|/b/(.*)")
    for path, groups in (("/a/1", ("1", None)), ("/b/2", (None, "2")), ("/x/b/3", (None, "3"))):
        location, rewrite = expression(regex.location).match(path), expression(regex.rewrite).search(path)
        assert location is not None
        assert rewrite is not None
        assert location.groups() == rewrite.groups() == groups


def test_a_path_that_is_too_long_is_refused_before_it_is_looked_at() -> None:
    # Each open bracket is looked behind to the end: a path of a megabyte would take hours.
    with pytest.raises(ValueError, match=r"^has 1000001 characters, and 512 are the most$"):
        path_regex("/" + "[" * 1_000_000)


def test_a_path_that_is_cheap_to_match_and_dear_to_look_for_is_refused() -> None:
    # The match ends at the `c`; the search for captures looks for a `b` behind every slash before it.
    for path in ("/.*b|c$", "^/.*b|/.*c"):
        with pytest.raises(ValueError, match="can read a text in too many ways"):
            path_regex(path)
    assert path_regex("^/.*b|^/c$").rewrite == "^/.*b|^/c$"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/a{,3}", "has `{,`: write `{0,`"),
        ("/[[:alpha:]]+", "has a set like `[[:alpha:]]`: write `[A-Za-z]`"),
        (r"/\hfoo", r"is not understood: bad escape \h, at character 2"),
        ("/(?|a|b)", "is not understood: unknown extension ?|, at character 3"),
        ("/)|/(", "is not understood: unbalanced parenthesis, at character 2"),
        ("/*/**", "is not understood: multiple repeat, at character 5"),
    ],
)
def test_what_python_reads_in_another_way_than_pcre_is_named(path: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        path_regex(path)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("path", "literal"),
    [
        ("/api/(foo", "/api/"),
        ("/foo*", "/fo"),
        (r"/foo\.*", "/foo"),
        ("/foo.html", "/foo"),
        (r"/a\.b(c", "/a.b"),
        ("/", "/"),
        ("/(", "/"),
        ("/x{2}", "/"),
        (r"/\d", "/"),
    ],
)
def test_what_a_path_begins_with_is_known_before_its_first_sign(path: str, literal: str) -> None:
    assert literal_text(path) == literal
