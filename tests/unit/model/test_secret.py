from __future__ import annotations

import pytest

from ingressd.model.secret import Secret


def secret(**fields: object) -> Secret:
    return Secret.model_validate({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, **fields})


def test_values_are_decoded_and_plain_text_wins() -> None:
    found = secret(data={"a": "aGVs\nbG8=\n", "b": "eA=="}, stringData={"b": "plain é"})
    assert found.value("a") == b"hello"
    assert found.value("b") == "plain é".encode()
    assert found.value("c") is None


@pytest.mark.parametrize("value", ["%", "aGVsbG8", "é"])
def test_what_is_not_base64_is_a_mistake_that_does_not_show_it(value: str) -> None:
    (mistake,) = secret(data={"a": value}).mistakes()
    assert mistake.message == "data.a is not base64"
    assert mistake.hint == "put plain text under stringData"


def test_a_secret_never_shows_its_values() -> None:
    found = secret(stringData={"a": "hunter2"}, type="Opaque")
    assert f"{found!r} {found}" == "<Secret None/s Opaque> <Secret None/s Opaque>"
