"""What may be an admin token, and which requests have it."""

from __future__ import annotations

import pytest

from ingressd.admin.token import TOKEN_LEAST, TOKEN_MOST, Token, is_token

SECRET = "correct-horse.battery_staple~42+/=="


@pytest.mark.parametrize("text", [SECRET, "x" * TOKEN_LEAST, "0" * TOKEN_MOST, "a" * 14 + "=="])
def test_what_a_client_can_send_and_nobody_can_guess_is_a_token(text: str) -> None:
    assert is_token(text)
    assert Token(text).opens([f"Bearer {text}"])


@pytest.mark.parametrize(
    "text",
    ["", "x" * (TOKEN_LEAST - 1), "x" * (TOKEN_MOST + 1), "x" * 16 + "\n", "two words of a phrase", "é" * 16, "=" * 16],
)
def test_what_is_no_token_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"^an admin token is 16 to 4096 letters") as refused:
        Token(text)
    assert text == "" or text not in str(refused.value)


@pytest.mark.parametrize("field", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER  {SECRET} "])
def test_the_scheme_has_no_case_and_spaces_do_not_matter(field: str) -> None:
    assert Token(SECRET).opens([field])


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [SECRET],
        [f"Basic {SECRET}"],
        [f"Bearer{SECRET}"],
        [f"Bearer {SECRET[:-1]}"],
        [f"Bearer {SECRET}="],
        [f"Bearer {SECRET.upper()}"],
        [f"Bearer {SECRET}, Bearer {SECRET}"],
        [f"Bearer {SECRET}", f"Bearer {SECRET}"],
        ["Bearer \udce9"],
    ],
)
def test_nothing_but_the_token_opens(fields: list[str]) -> None:
    assert not Token(SECRET).opens(fields)


def test_a_token_does_not_show_itself() -> None:
    assert SECRET not in repr(Token(SECRET))
    assert not hasattr(Token(SECRET), "__dict__")


def test_tokens_of_the_same_text_are_equal() -> None:
    assert Token(SECRET) == Token(SECRET)
    assert hash(Token(SECRET)) == hash(Token(SECRET))
    assert Token(SECRET) != Token("x" + SECRET)
    assert Token(SECRET) != SECRET
