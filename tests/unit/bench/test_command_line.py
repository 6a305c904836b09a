"""`python -m bench` as it is typed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.results import Results
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
        (["--workload", "gets"], ", service-updates, growth, pairs"),
        (["--pair", "get"], "--pair: 'get' is not two workloads"),
        (["--pair", "get,get"], "--pair: 'get,get' is not two workloads"),
        (["--pair", "get,gett"], "--pair: gett: known are get, "),
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


def test_charts_are_drawn_again_from_json_without_a_measurement(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, drawn, nothing = (tmp_path / name for name in ("results.json", "all.svg", "growth.svg"))
    written.write_text(json.dumps(results.to_json("ingressd", [], [])))
    assert main([f"--from={written}", f"--chart={drawn}", f"--growth={nothing}"]) == 0
    assert ET.parse(drawn).getroot().tag.endswith("svg")
    assert not nothing.exists()
    said = capsys.readouterr()
    assert "ingressd = 1.50 (1.40..1.60) x" in said.out
    assert f"{nothing} is not written: nothing that it shows was measured" in said.err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_file_that_is_no_result_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.json").write_text(text)
    assert main([f"--from={tmp_path / 'no.json'}"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"bench: --from: {tmp_path / 'no.json'} is not what --json writes")
    assert said.err.count("\n") == 1
