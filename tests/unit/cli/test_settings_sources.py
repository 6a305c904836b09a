from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingressd.cli.settings_sources import SettingsError, read_settings
from ingressd.settings import OFF, Limits, Settings


def settings_of(given: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
    return read_settings(given, environ or {})[0]


def mistakes_of(given: dict[str, Any], environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        read_settings(given, environ or {})
    return refused.value.mistakes


def test_without_a_word_the_defaults_hold() -> None:
    assert read_settings({"http_port": None, "certificates": []}, {}) == (Settings(), [])


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("http_port: 1\nhttps_port: 1\nadmin_port: 1\n")
    settings = settings_of(
        {"settings": str(site), "http_port": "3"}, {"INGRESSD_HTTP_PORT": "2", "INGRESSD_HTTPS_PORT": "2"}
    )
    assert (settings.http_port, settings.https_port, settings.admin_port) == (3, 2, 1)
    assert settings.bind == Settings().bind


def test_a_switch_may_be_switched_off_by_a_flag() -> None:
    assert settings_of({"nginx_class": False}, {"INGRESSD_NGINX_CLASS": "true"}).nginx_class is False


def test_the_settings_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(
        '{"workers": 2, "paths": ["a", "b"], "certificates": ["x.crt:x.key"], "limits": {"connect_s": 1.5}}'
    )
    settings = settings_of({}, {"INGRESSD_SETTINGS": str(site)})
    assert settings.workers == 2
    assert settings.paths == ("a", "b")
    assert settings.certificates == (("x.crt", "x.key"),)
    assert settings.limits == Limits(connect_s=1.5)


def test_a_settings_file_may_also_use_the_field_names_with_their_unit(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("drain_timeout_s: 3\npoll_interval: 1\n")
    settings = settings_of({"settings": str(site)})
    assert (settings.drain_timeout_s, settings.poll_interval_s) == (3.0, 1.0)


def test_limits_come_from_flags_and_variables() -> None:
    settings = settings_of(
        {"limit": ["connect_s=1", "connections=10"]},
        {"INGRESSD_LIMIT_CONNECT_S": "9", "INGRESSD_LIMIT_READ_GAP_S": "7"},
    )
    assert settings.limits == Limits(connect_s=1.0, connections=10, read_gap_s=7.0)


def test_lists_come_from_variables() -> None:
    settings = settings_of({}, {"INGRESSD_PATHS": "/a:/b", "INGRESSD_TRUSTED_PROXIES": "10.0.0.0/8,192.0.2.0/24"})
    assert settings.paths == ("/a", "/b")
    assert settings.trusted_proxies == ("10.0.0.0/8", "192.0.2.0/24")


def test_a_port_may_be_off_in_every_source(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("admin_port: off\n")
    settings = settings_of({"settings": str(site), "http_port": "off"}, {"INGRESSD_HTTPS_PORT": "off"})
    assert (settings.http_port, settings.https_port, settings.admin_port) == (OFF, OFF, OFF)


def test_every_mistake_is_told_with_its_origin(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("htp_port: 80\nlimits:\n  conect_s: 1\n  read_gap_s: soon\n")
    mistakes = mistakes_of(
        {"settings": str(site), "admin_port": "99999", "limit": ["conections=1"]}, {"INGRESSD_DRAIN_TIMEOUT": "long"}
    )
    assert sorted(mistakes) == sorted(
        [
            f"{site}:1:1: there is no setting htp_port (did you mean http_port?)",
            f"{site}:3:3: there is no limit conect_s (did you mean connect_s?)",
            f"{site}:4:3: read_gap_s: 'soon': input should be a valid number, unable to parse string as a number",
            "--admin-port: a port is a number from 0 (any free one) to 65535, or off",
            "--limit: there is no limit conections (did you mean connections?)",
            "INGRESSD_DRAIN_TIMEOUT: 'long': input should be a valid number, unable to parse string as a number",
        ]
    )


def test_a_variable_that_means_nothing_is_noted_not_refused() -> None:
    settings, notes = read_settings({}, {"INGRESSD_HTPS_PORT": "1", "INGRESSD_PORT_80_TCP": "tcp://10.0.0.1:80"})
    assert settings == Settings()
    assert notes[0] == "there is no variable INGRESSD_HTPS_PORT (did you mean INGRESSD_HTTPS_PORT?); ignored"
    assert len(notes) == 2


def test_what_was_read_survives_the_way_to_the_supervisor() -> None:
    settings = settings_of(
        {
            "paths": ["a"],
            "certificates": ["c:k"],
            "default_certificate": "d:e",
            "dns_servers": ["127.0.0.1"],
            "limit": ["connect_s=1"],
        }
    )
    assert Settings.from_json(settings.to_json()) == settings
