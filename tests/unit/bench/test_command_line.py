"""`python -m bench` as it is typed."""

from __future__ import annotations

import pytest

from bench.__main__ import main
from bench.workloads import ALL


def test_list_tells_every_workload(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    told = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert told[: len(ALL)] == [workload.name for workload in ALL]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workload", "get,gett"], "--workload: gett: known are get, "),
        (["--peers", "ngnix"], "--peers: ngnix: known are ingressd, nginx"),
        (["--workload", "get", "--cores", "0-1"], "'0-1' is not like 0:1"),
        (["--workload", "get", "--cores", "0:9999"], "no core 9999 here"),
    ],
)
def test_a_mistyped_argument_is_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert said in str(ended.value)
    assert "\n" not in str(ended.value)
