"""Path texts: what is decoded, what stays, and that a text in a target says what the path said."""

from __future__ import annotations

import pickle
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply
from ingressd.http.path_text import encoded_argument, encoded_location, encoded_path, expression, path_text
from ingressd.http.target import canonicalise


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a/b", "/a/b"),
        ("/a%20b", "/a b"),
        ("/caf%C3%A9", "/café"),
        ("/%40x%3B%3D", "/@x;="),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%252Fb", "/a%252Fb"),
        ("/a%0A%0D%7F%00", "/a%0A%0D%7F%00"),
        ("/%C2%85%E2%80%A8", "/%C2%85%E2%80%A8"),
        ("/%FF%C3", "/%FF%C3"),
        ("/%C3%A9%FFx", "/é%FFx"),
        ("/%3Fx%23", "/?x#"),
    ],
)
def test_a_path_is_decoded_but_for_what_would_change_its_meaning(path: str, text: str) -> None:
    assert path_text(path) == text


@given(st.text(st.sampled_from("/a%0123456789ABCDEFcdf?é ")))
def test_a_text_in_a_target_is_the_path_that_it_comes_from(target: str) -> None:
    try:
        path, _ = canonicalise("/" + target)
    except LocalReply:
        return
    text = path_text(path)
    again = encoded_path(text)
    assert text.isprintable()
    assert unquote_to_bytes(again) == unquote_to_bytes(path)
    assert path_text(canonicalise(again)[0]) == text
    assert unquote_to_bytes(encoded_argument(text)) == unquote_to_bytes(path)


@pytest.mark.parametrize(
    ("encode", "text", "encoded"),
    [
        (encoded_path, "/a b?c#d", "/a%20b%3Fc%23d"),
        (encoded_path, "/é%2F", "/%C3%A9%2F"),
        (encoded_path, '/"<>\\^`{|}[]', "/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D"),
        (encoded_argument, "a&b+c=d", "a%26b%2Bc=d"),
        (encoded_location, "https://a.test/é x#y?z=[1]", "https://a.test/%C3%A9%20x#y?z=[1]"),
        (encoded_location, "/a\r\nSet-Cookie: x", "/a%0D%0ASet-Cookie:%20x"),
    ],
)
def test_what_a_target_or_a_field_cannot_hold_is_escaped(encode: object, text: str, encoded: str) -> None:
    assert callable(encode)
    assert encode(text) == encoded


def test_expressions_compare_in_either_case_as_nginx_does_and_letters_beyond_ascii_as_they_are() -> None:
    assert expression("/Foo").match("/fOO")
    assert not expression("/é").match("/É")
    assert not expression(r"/\w$").match("/é")
    assert expression("/x") is expression("/x")
    assert pickle.loads(pickle.dumps(expression("/x"))) == expression("/x")
