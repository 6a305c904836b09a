from __future__ import annotations

import dataclasses

from ingressd.cli.setting_flags import FLAGS, PATHS, shown_default
from ingressd.cli.setting_types import LIMIT_TYPES, TYPES
from ingressd.settings import Limits, Settings


def test_every_setting_has_one_flag_and_one_type() -> None:
    fields = [field.name for field in dataclasses.fields(Settings) if field.name != "limits"]
    assert sorted(flag.field for flag in (PATHS, *FLAGS)) == sorted(fields)
    assert sorted(TYPES) == sorted(fields)


def test_every_limit_has_a_type() -> None:
    assert sorted(LIMIT_TYPES) == sorted(field.name for field in dataclasses.fields(Limits))


def test_flag_key_and_variable_are_one_name() -> None:
    flag = next(flag for flag in FLAGS if flag.field == "drain_timeout_s")
    assert (flag.flag, flag.key, flag.variable) == ("--drain-timeout", "drain_timeout", "INGRESSD_DRAIN_TIMEOUT")


def test_defaults_are_shown_as_an_operator_writes_them() -> None:
    shown = {flag.field: shown_default(flag) for flag in FLAGS}
    assert shown["workers"] == "auto"
    assert shown["drain_timeout_s"] == "25"
    assert shown["http_port"] == "8080"
    assert shown["default_certificate"] == shown["certificates"] == ""
