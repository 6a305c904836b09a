from __future__ import annotations

from pathlib import Path

import pytest

from ingressd.cli.settings_file import Entry, read_settings_file
from ingressd.errors import StartupError


def read(tmp_path: Path, text: str) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    file = read_settings_file(str(path))
    return file.settings, file.limits


def test_values_stay_text_and_keep_their_place(tmp_path: Path) -> None:
    settings, limits = read(tmp_path, "http_port: 80\nhttps_port: off\npaths:\n  - a\n  - b\nlimits:\n  connect_s: 2\n")
    site = tmp_path / "site.yaml"
    assert settings == (
        Entry("http_port", "80", f"{site}:1:1"),
        Entry("https_port", "off", f"{site}:2:1"),
        Entry("paths", ["a", "b"], f"{site}:3:1"),
    )
    assert limits == (Entry("connect_s", "2", f"{site}:7:3"),)


def test_json_is_read_too(tmp_path: Path) -> None:
    settings, limits = read(tmp_path, '{"http_port": 80, "strict": true, "limits": {"connect_s": 2}}')
    assert [(entry.key, entry.value) for entry in settings] == [("http_port", "80"), ("strict", "true")]
    assert [(entry.key, entry.value) for entry in limits] == [("connect_s", "2")]


def test_an_empty_file_and_keys_without_value_say_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing yet\n") == ((), ())
    assert read(tmp_path, "default_certificate: null\nbind:\n")[0] == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http_port: [80\n", "site.yaml:2:1: not YAML:"),
        ("- http_port\n", "site.yaml:1:1: expected a mapping"),
        ("limits:\n  connect_s:\n    a: 1\n", "site.yaml:3:5: the value of connect_s is one word or a list of words"),
        ("bind: a\nbind: b\n", "site.yaml:2:1: bind is set twice"),
        ("[a, b]: c\n", "site.yaml:1:1: the name of a setting is one word"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StartupError) as refused:
        read(tmp_path, text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"cannot read the settings file .*nowhere\.yaml: No such file"):
        read_settings_file(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StartupError, match="not UTF-8"):
        read_settings_file(str(tmp_path / "binary.yaml"))
