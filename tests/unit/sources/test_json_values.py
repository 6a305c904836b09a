from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.sources.json_values import read_json
from ingressd.sources.yaml_values import DEPTH, Refused


def refusal(text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        read_json(text)
    return caught.value


def test_values_have_their_types_and_null_means_unset() -> None:
    text = '{"a": 1,\n\t"b": null, "c": [1.5, null, true], "d": "yes", "e": "\\ud83d\\ude00", "f": {"g": null}}'
    assert read_json(text) == {"a": 1, "c": [1.5, None, True], "d": "yes", "e": "😀", "f": {}}


def test_an_empty_file_is_nothing() -> None:
    assert read_json("") is None
    assert read_json(" \n\t") is None


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "message"),
    [
        ('{"a": 1,\n\t"a": 2}', "yaml_duplicate_key", 2, 2, "`a` is written twice"),
        ('{"b": "\\ud83d\\ude00", "a": 1, "a": 2}', "yaml_duplicate_key", 1, 1, "`a` is written twice"),
        ('{"a": 1,}', "json_syntax", 1, 9, "this is not JSON"),
        ("[1,\n 2", "json_syntax", 2, 3, "this is not JSON"),
        ("// c\n{}", "json_syntax", 1, 1, "this is not JSON"),
        ("{} {}", "json_syntax", 1, 4, "extra data"),
        ("[NaN]", "json_syntax", 1, 1, "NaN is no number"),
        ("[-Infinity]", "json_syntax", 1, 1, "-Infinity is no number"),
        ("[1e999]", "json_syntax", 1, 1, "too large"),
        ("[" + "1" * 5000 + "]", "json_syntax", 1, 1, "5000 digits"),
        ('["\\ud83d"]', "json_syntax", 1, 1, "surrogate"),
        ("[" * 100_000, "yaml_depth", 1, DEPTH + 1, "nested more than 64 deep"),
        ('{"a":\n' * 100_000, "yaml_depth", DEPTH + 1, 1, "nested more than 64 deep"),
        ("[" + "1," * 600_000 + "1]", "document_too_large", 1, 1_000_003, "values in one document"),
        ('"' + '\\"' * 500_000, "json_syntax", 1, 1, "unterminated string"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_mistake_has_its_place(text: str, code: str, line: int, column: int, message: str) -> None:
    refused = refusal(text)
    assert message in refused.message
    assert (refused.code, refused.line, refused.column) == (code, line, column)


def test_brackets_in_strings_are_no_nesting() -> None:
    value = ["[" * 1000 + '\\"{' * 1000]
    assert read_json(json.dumps(value)) == value


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_what_json_dumps_is_read_back(value: object, indent: int | str | None, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only)) == value


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text('[]{}",:\\u019dnulltrue \n', max_size=60))
def test_no_text_raises_anything_but_a_refusal_or_makes_more_than_json(text: str) -> None:
    with contextlib.suppress(Refused):
        json.dumps(read_json(text), ensure_ascii=False).encode()
