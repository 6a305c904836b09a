"""Lines that come in crowds."""

from __future__ import annotations

import logging

import pytest

from ingressd.observe.sparing import LINES, WINDOW_S, Sparing


def test_a_crowd_is_cut_short_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = [100.0]
    log = Sparing(logging.getLogger("crowd"), lambda: now[0])
    for number in range(LINES + 5):
        log.warning("endpoint %d is down", number)
    assert [record.getMessage() for record in caplog.records] == [f"endpoint {n} is down" for n in range(LINES)]
    caplog.clear()
    now[0] += WINDOW_S
    log.info("endpoint %d is up", 1)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "5 more lines of this kind were left out"),
        ("INFO", "endpoint 1 is up"),
    ]


def test_few_lines_are_all_said(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    log = Sparing(logging.getLogger("few"), lambda: now[0])
    for _ in range(3 * LINES):
        log.warning("down")
        now[0] += WINDOW_S / LINES
    assert {record.getMessage() for record in caplog.records} == {"down"}
    assert len(caplog.records) == 3 * LINES
