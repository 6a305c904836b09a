"""Cookies: what requests carry, and Set-Cookie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.http.cookies import Attributes, set_cookie, valid_attribute, valid_name, values
from ingressd.http.field_rules import valid_value

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (None, []),
        ("", []),
        ("a=1", ["1"]),
        ("b=1; a=2", ["2"]),
        ("a=1; a=2;a=3", ["1", "2", "3"]),
        ('a="1"', ["1"]),
        ("a", []),
        ("ab=1; ba=2", []),
        ("a==", ["="]),
        (" a = 1 ", ["1"]),
        ("A=1", []),
    ],
)
def test_every_value_of_a_name_is_found(field: str | None, found: list[str]) -> None:
    assert list(values(field, "a")) == found


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=80))
def test_whatever_a_client_sends_is_read(field: str) -> None:
    assert all(isinstance(value, str) for value in values(field, "a"))


def test_a_session_cookie_says_its_path_and_is_for_no_script() -> None:
    assert set_cookie("a", "1", Attributes(), NOW) == "a=1; Path=/; HttpOnly"


def test_every_attribute_is_written_once() -> None:
    attributes = Attributes("/x", "a.test", "None", True, 60, 3600, True)
    assert set_cookie("a", "1", attributes, NOW) == (
        "a=1; Path=/x; Domain=a.test; Expires=Tue, 14 Nov 2023 23:13:20 GMT; Max-Age=60; Secure; HttpOnly;"
        " SameSite=None; Partitioned"
    )


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_and_attributes_that_are_allowed_make_one_field(name: str, path: str) -> None:
    if valid_name(name) and valid_attribute(path):
        field = set_cookie(name, "1", Attributes(path), NOW)
        assert valid_value(field.encode("ascii"))
        assert field.count(";") == 2


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "ä", "a\n"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    assert not valid_name(name)


@pytest.mark.parametrize("value", ["", "/a;b", "/\r\n", "/ä"])
def test_an_attribute_cannot_begin_another_one(value: str) -> None:
    assert not valid_attribute(value)
