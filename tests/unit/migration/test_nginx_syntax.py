"""nginx's syntax, and that no text makes the reader raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.migration.nginx_syntax import MOST_CHARACTERS, MOST_DEEP, Directive, parse

PIECES = st.lists(
    st.sampled_from(
        [*"{};\"'#\\$ \n\t", "if ", "($host = a)", "${", "x_by_lua_block ", "add_header ", "a", "ü", "\x00"]
    )
)


def words(text: str) -> list[tuple[str, ...]]:
    return [directive.words for directive in parse(text).directives]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ; ;\n;", []),
        ("a;", [("a",)]),
        ("a b  c;d;", [("a", "b", "c"), ("d",)]),
        ("# a b;\nc;# d", [("c",)]),
        ("a b#c;", [("a", "b#c")]),
        ("a \"b c\" 'd e';", [("a", "b c", "d e")]),
        (r'a "b\"c" "d\\e" "f\ng";', [("a", 'b"c', "d\\e", "f\\ng")]),
        ("a 'b\"c';", [("a", 'b"c')]),
        ('a "b;{}#c";', [("a", "b;{}#c")]),
        ("a ${host}x $x;", [("a", "${host}x", "$x")]),
        (r"rewrite ^/a\;b$ /c;", [("rewrite", r"^/a\;b$", "/c")]),
        ('a "";', [("a", "")]),
        ("a\nb\nc;", [("a", "b", "c")]),
    ],
)
def test_words_are_nginxs(text: str, expected: list[tuple[str, ...]]) -> None:
    assert words(text) == expected
    assert parse(text).problems == ()


def test_a_block_holds_its_directives_with_their_lines() -> None:
    (outer, after), problems = parse("location /a {\n  b c;\n  if ($d) {\n    e;\n  }\n}\nf;")
    assert problems == ()
    assert (outer.words, outer.line) == (("location", "/a"), 1)
    assert outer.block == (Directive(("b", "c"), 2), Directive(("if", "($d)"), 3, (Directive(("e",), 4),)))
    assert after == Directive(("f",), 7)


def test_code_is_stepped_over_whatever_is_in_it() -> None:
    text = """a; access_by_lua_block {
        -- don't stop at a brace in a text
        if ngx.var.x == "}" then return ngx.exit(403) end
        local t = { b = '{' };
    }
    c;"""
    first, code, last = parse(text).directives
    assert (first.words, code.words, last.words) == (("a",), ("access_by_lua_block",), ("c",))
    assert (code.code, code.block) == (True, ())


@pytest.mark.parametrize(
    ("text", "problem", "expected"),
    [
        ("a b", "line 1: no semicolon at the end", [("a", "b")]),
        ("a {\nb }", "line 2: no semicolon at the end", [("a",)]),
        ("a {\nb;", "line 1: a brace that is never closed", [("a",)]),
        ("a; } b;", "line 1: a closing brace too many", [("a",), ("b",)]),
        ("{ a; } b;", "line 1: a brace without a directive", [("b",)]),
        ('a; b "c;\nd;', "line 1: a quote that is never closed", [("a",), ("b",)]),
    ],
)
def test_what_nginx_would_refuse_is_named_and_the_rest_is_read(
    text: str, problem: str, expected: list[tuple[str, ...]]
) -> None:
    assert problem in parse(text).problems
    assert words(text) == expected


def test_depth_and_length_have_a_bound() -> None:
    directives, _ = parse("a {" * 5000 + "}" * 5000)
    depth = 0
    while directives:
        depth += 1
        directives = directives[0].block or ()
    assert depth == MOST_DEEP + 1
    assert parse("a;" * MOST_CHARACTERS).problems == (f"only the first {MOST_CHARACTERS} characters are read",)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('add_header A "b c" always;', 'add_header A "b c" always'),
        ('a "b\\"c";', 'a "b\\"c"'),
        ('a "";', 'a ""'),
        ('if ($a ~ "b") { c; }', "if ($a ~ b) { ... }"),
        ("a 'b\nc';", 'a "b\\nc"'),
    ],
)
def test_a_directive_is_shown_in_one_line(text: str, shown: str) -> None:
    assert str(parse(text).directives[0]) == shown


@given(st.one_of(st.text(), PIECES.map("".join)))
def test_no_text_raises_and_every_directive_has_a_name(text: str) -> None:
    def check(directives: tuple[Directive, ...]) -> None:
        for directive in directives:
            assert directive.words
            assert "\n" not in str(directive)
            check(directive.block or ())

    check(parse(text).directives)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_quoted_words_come_back_as_they_were(written: list[str]) -> None:
    quoted = " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in written)
    assert words(f"{quoted};") == [tuple(written)]
