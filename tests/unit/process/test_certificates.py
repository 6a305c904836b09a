"""The self-made certificate lasts, and is made anew in time, or when the clock it was made by was wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingressd.process.certificates import CertificateReader
from ingressd.settings import OFF, Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_self_made_certificate_stays_the_same() -> None:
    reader = CertificateReader(Settings())
    assert reader.read(NOW).self_made is reader.read(NOW + timedelta(days=1)).self_made is not None


@pytest.mark.parametrize("jump", [timedelta(days=4000), timedelta(days=-4000)], ids=["forward", "backward"])
def test_when_the_clock_jumps_there_is_one_that_is_valid_now(jump: timedelta) -> None:
    reader = CertificateReader(Settings())
    for now in (NOW, NOW + jump, NOW):
        made = reader.read(now).self_made
        assert made is not None
        assert made.not_before <= now.timestamp() < made.not_after


def test_without_https_there_is_none() -> None:
    assert CertificateReader(Settings(https_port=OFF)).read(NOW).self_made is None
