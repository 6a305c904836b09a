from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingressd.sources.yaml_values import ALIASES, DEPTH, Refused, read_yaml


def refusal(text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        read_yaml(text)
    return caught.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("80", 80),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-0.5E-1", -0.05),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("0777", "0777"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("+5", "+5"),
        (".5", ".5"),
        ("1.", "1."),
        ("-", None),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e400", "1e400"),
        ("9" * 5000, "9" * 5000),
        ("1.2.3.4", "1.2.3.4"),
        ('"80"', "80"),
        ("'true'", "true"),
        ('"~"', "~"),
        ('""', ""),
        ("|\n  80", "80"),
        (">-\n  a\n  b\n", "a b"),
        ("!!str 80", "80"),
        ("!!str", ""),
        ('!!int "80"', 80),
        ("!!float 1", 1),
        ("!!bool true", True),
        ("!!map {b: 1}", {"b": 1}),
        ("!!seq [1]", [1]),
        ("! 80", 80),
        ("<<", "<<"),
        ("[~, null, 1]", [None, None, 1]),
    ],
)
def test_a_value_has_the_type_that_json_gives_it(written: str, value: object) -> None:
    if written == "-":
        assert read_yaml("a:\n  -") == {"a": [None]}
        return
    found = read_yaml(f"a: {written}")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_null_means_unset() -> None:
    assert read_yaml("a: null\nb: ~\nc:\nd: NULL\ne: !!null ~\nf: 1") == {"f": 1}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~"])
def test_nothing_is_nothing(text: str) -> None:
    assert read_yaml(text) is None


def test_words_of_yaml_1_1_may_be_keys() -> None:
    assert read_yaml('on: 1\nyes: 2\nn: 3\n"1": 4\n!!str 2: 5\n12:30: 6') == {
        "on": 1,
        "yes": 2,
        "n": 3,
        "1": 4,
        "2": 5,
        "12:30": 6,
    }


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "message", "hint"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "yaml_duplicate_key", 4, 3, "`c` is written twice", "remove one"),
        ("data:\n  1: x", "yaml_key", 2, 3, "the key `1` is not a string", 'in quotes: "1":'),
        ("true: x", "yaml_key", 1, 1, "the key `true` is not a string", 'in quotes: "true":'),
        ("~: x", "yaml_key", 1, 1, "the key `~` is not a string", "in quotes"),
        ("!!int 1: x", "yaml_key", 1, 1, "the key `1` is not a string", "in quotes"),
        ("a: {{ b }}", "yaml_key", 1, 5, "a mapping or a list", "templates must be rendered first"),
        ("a: !!python/object:os.system x", "yaml_tag", 1, 4, "!!python/object:os.system has no meaning", "remove it"),
        ("a: !mine {}", "yaml_tag", 1, 4, "!mine has no meaning", "remove it"),
        ("a: !mine []", "yaml_tag", 1, 4, "!mine has no meaning", "remove it"),
        ("a: !!binary aGk=", "yaml_tag", 1, 4, "!!binary has no meaning", "remove it"),
        ("a: !!int x", "yaml_tag", 1, 4, "not of that type", "correct the value"),
        ("a: !!int true", "yaml_tag", 1, 4, "not of that type", "correct the value"),
        ("host: *.example.com", "yaml_syntax", 1, 8, "alias", "must be in quotes"),
        ("a: *b", "yaml_syntax", 1, 4, "undefined alias", "must be in quotes"),
        ("a: &b 1\nc: &b 2", "yaml_syntax", 2, 4, "duplicate anchor", "another name"),
        ("a: @b", "yaml_syntax", 1, 4, "`@`", "begins with `@` in quotes"),
        ("a:\n\t- b", "yaml_syntax", 2, 1, "a tab", "indent with spaces"),
        ("a: 1\n\tb: 1", "yaml_syntax", 2, 1, "tab character", "indent with spaces"),
        ("a: b: c", "yaml_syntax", 1, 5, "mapping values are not allowed", "in quotes"),
        ("a:\n  b: 1\n c: 2", "yaml_syntax", 3, 2, "did not find expected key", "indent like the lines around"),
        ("- a\nb: 1", "yaml_syntax", 2, 1, "'-' indicator", "same column"),
        ("a: [1, 2", "yaml_syntax", 1, 4, "',' or ']'", "not closed"),
        ('a: "x', "yaml_syntax", 1, 6, "unexpected end of stream", "a quote is not closed"),
        ("a: 1\nfoo\nb: 2", "yaml_syntax", 3, 1, "could not find expected ':'", "look at the line above"),
        ('a: "\\q"', "yaml_syntax", 1, 5, "unknown escape", "single quotes"),
        ("é: \x07", "yaml_character", 1, 4, "control character", "remove it"),
        ("a: 1\nb: \x00", "yaml_character", 2, 4, "control character", "remove it"),
        ("<<: 1", "yaml_merge", 1, 5, "<< takes a mapping", "*NAME"),
        ("<<: [1]", "yaml_merge", 1, 5, "<< takes a mapping", "*NAME"),
        ("a: &b [*b]", "yaml_alias_cycle", 1, 4, "inside what it names", "write the value out"),
        ("a: &b\n  <<: *b", "yaml_alias_cycle", 1, 4, "inside what it names", "write the value out"),
        ("a: &b {c: {d: *b, e: *b}}", "yaml_alias_cycle", 1, 4, "inside what it names", "write the value out"),
    ],
)
def test_a_mistake_has_its_place_and_a_way_out(
    text: str, code: str, line: int, column: int, message: str, hint: str
) -> None:
    refused = refusal(text)
    assert (refused.code, refused.line, refused.column) == (code, line, column)
    assert message in refused.message
    assert hint in refused.hint


ODD = '# \u2028\nq: "\x85\u2028 \u2029"\n'
"""Two lines for an editor, and six for YAML 1.1."""


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 1\na: 2\n", "yaml_duplicate_key", 5, 1),
        ("a: !mine {}", "yaml_tag", 3, 4),
        ("a: b: c", "yaml_syntax", 3, 5),
        ("a: 1\n\tb: 1", "yaml_syntax", 4, 1),
        ("a: [1, 2\n\n", "yaml_syntax", 3, 4),
        ("a: \x07", "yaml_character", 3, 4),
        (f"a: {'[' * 70}", "yaml_depth", 3, 67),
        ("a: '\u2028' b", "yaml_syntax", 3, 8),
    ],
)
def test_behind_a_line_separator_a_mistake_has_the_place_that_an_editor_shows(
    text: str, code: str, line: int, column: int
) -> None:
    refused = refusal(ODD + text)
    assert (refused.code, refused.line, refused.column) == (code, line, column)


def test_the_first_of_two_keys_has_the_line_that_an_editor_shows_too() -> None:
    assert refusal(f"{ODD}a: 1\nb: 1\na: 2\n").earlier == 3


def test_a_key_that_is_written_twice_tells_of_the_first() -> None:
    assert refusal("x: 1\na: 1\nb: 2\na: 3").earlier == 2
    assert refusal("a: ~\na: ~").earlier == 1


def test_a_merge_fills_in_what_is_not_written() -> None:
    text = "base: &base {a: 1, b: 2, c: 3}\nother: &other {b: 9, d: 9}\nx:\n  <<: [*base, *other]\n  a: 5\n  c: ~\n"
    assert read_yaml(text)["x"] == {"a": 5, "b": 2, "d": 9}
    assert read_yaml("b: &b {q: 1}\n<<: *b\ny: *b") == {"b": {"q": 1}, "q": 1, "y": {"q": 1}}


def test_as_many_aliases_as_allowed_are_followed_and_no_more() -> None:
    text = "a: &a x\nb:\n" + "- *a\n" * ALIASES
    assert read_yaml(text)["b"] == ["x"] * ALIASES
    refused = refusal(text + "- *a\n")
    assert (refused.code, refused.line, refused.column) == ("yaml_alias_limit", ALIASES + 3, 3)


def test_aliases_that_stand_for_millions_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    refused = refusal("\n".join(lines))
    assert refused.code == "document_too_large"
    assert "aliases followed" in refused.message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "- - {b: [", "&a [*a, "])
def test_deep_nesting_is_refused_before_it_costs_anything(opening: str) -> None:
    assert refusal(opening * 100_000).code in {"yaml_depth", "yaml_syntax", "yaml_alias_limit"}


def test_the_deepest_nesting_that_is_allowed_is_read() -> None:
    value: Any = read_yaml("[" * DEPTH + "]" * DEPTH)
    for _ in range(DEPTH - 1):
        (value,) = value
    assert value == []
    assert refusal("[" * (DEPTH + 1) + "1" + "]" * (DEPTH + 1)).code == "yaml_depth"
    # The same depth by way of an alias.
    half = DEPTH // 2 + 1
    assert refusal(f"- &a {'[' * half}1{']' * half}\n- {'[' * half}*a{']' * half}").code == "yaml_depth"


def test_a_document_of_too_many_values_is_refused() -> None:
    assert refusal("[" + "1," * 260_000 + "]").code == "document_too_large"


class _JsonDumper(yaml.SafeDumper):
    """Puts strings in quotes that are numbers for JSON, which PyYAML takes for strings: `1e3`."""


_JsonDumper.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
}
_JsonDumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$"), list("-0123456789")
)

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029\ufeff"))
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(
        ["yes", "no", "on", "off", "null", "~", "12:30", "0777", "2024-01-01", "1e3", "0x1F", "<<", "=", ""]
    )
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


@given(VALUES)
def test_what_yaml_dumps_is_read_back(value: object) -> None:
    assert read_yaml(yaml.dump(value, Dumper=_JsonDumper, allow_unicode=True)) == value


@given(TEXT)
def test_what_is_in_quotes_is_a_string(text: str) -> None:
    assert read_yaml(yaml.safe_dump({text: text}, default_style='"', allow_unicode=True)) == {text: text}


@given(VALUES)
def test_json_is_yaml(value: object) -> None:
    assert read_yaml(json.dumps(value, ensure_ascii=False)) == value


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("ab:-[]{}&*!|>'\"#%@`\n\t ,?~0<.", max_size=60))
def test_no_text_raises_anything_but_a_refusal_inside_the_text(text: str) -> None:
    refused = None
    try:
        read_yaml(text)
    except Refused as error:
        refused = error
    if refused is not None:
        assert 1 <= refused.line <= len(text.splitlines()) + 2
        assert refused.column >= 1
