"""What the commands without a running proxy have in common, and how any mistake becomes one line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingressd.cli.offline import OFFLINE_FLAGS

COMMANDS = ("run", "check", "routes", "explain", "diff", "demo", "certs")


def routes_of(out: str) -> dict[str, Any]:
    return {f"{row['host']}{row['path']}": row for row in json.loads(out)}


def test_without_arguments_the_program_shows_what_there_is(program: Any) -> None:
    done = program()
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: ingressd [OPTIONS] COMMAND")
    for command in COMMANDS:
        assert f"\n  {command} " in done.out
    assert "..." not in done.out.partition("Commands:")[2], "a summary is cut off"


@pytest.mark.parametrize("command", [*COMMANDS, "certs dev"])
def test_every_command_has_help(ingressd: Any, command: str) -> None:
    done = ingressd(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: ingressd {command} ")


@pytest.mark.parametrize("command", ["check", "routes", "explain", "diff"])
def test_offline_commands_take_the_settings_that_change_the_table(ingressd: Any, command: str) -> None:
    shown = ingressd(command, "--help").out
    assert [flag.flag for flag in OFFLINE_FLAGS if flag.flag not in shown] == []
    assert "--workers" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "ingressd: no manifests: name a folder, as in `ingressd check manifests/` (or set INGRESSD_PATHS)"),
        (["routes", "nowhere"], "ingressd: nowhere: no such file or folder"),
        (["diff", "shop", "nowhere"], "ingressd: nowhere: no such file or folder"),
        (["diff", "shop"], "ingressd: Missing argument 'NEW' (see `ingressd diff --help`)"),
        (["explain"], "ingressd: Missing argument 'URL' (see `ingressd explain --help`)"),
        (
            ["check", "--scheduler", "magic", "shop"],
            "ingressd: --scheduler: 'magic' is not known; choose rr, wrr, lc, wlc, sh, dh, sed, nq, random, p2c, ewma,"
            " maglev or auto",
        ),
        (
            ["routes", "--output", "xml", "shop"],
            "ingressd: Invalid value for '--output' / '-o': 'xml' is not one of 'text', 'json'"
            " (see `ingressd routes --help`)",
        ),
        (["nothing"], "ingressd: No such command 'nothing' (see `ingressd --help`)"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_a_wrong_command_line_is_one_line_and_exit_code_2(ingressd: Any, arguments: list[str], message: str) -> None:
    done = ingressd(*arguments)
    assert (done.code, done.out, done.err) == (2, "", message + "\n")


@pytest.mark.usefixtures("shop")
def test_endpoints_that_are_written_down_are_read_without_a_network(ingressd: Any) -> None:
    rows = routes_of(ingressd("routes", "--output", "json", "shop").out)
    assert rows["shop.example/"]["endpoints"] == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert rows["shop.example/cart"]["endpoints"] == []


@pytest.mark.usefixtures("shop")
def test_variables_and_a_settings_file_mean_what_they_mean_for_run(
    ingressd: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "site.yaml").write_text("paths: [shop]\ndefault_backend: default/web:80\nhttps_port: off\n")
    rows = routes_of(ingressd("routes", "--output", "json", "--settings", "site.yaml").out)
    assert rows["*/"]["service"] == "web"
    monkeypatch.setenv("INGRESSD_PATHS", "shop")
    monkeypatch.setenv("INGRESSD_NGINX_CLASSS", "false")
    done = ingressd("routes", "--output", "json")
    assert "shop.example/" in routes_of(done.out)
    assert "did you mean INGRESSD_NGINX_CLASS?" in done.err


def test_a_file_is_as_good_as_a_folder(ingressd: Any, shop: Path) -> None:
    files = [str(shop / "ingress.yaml"), str(shop / "services.yaml")]
    assert len(json.loads(ingressd("routes", "--output", "json", *files).out)) == 2


@pytest.mark.usefixtures("shop")
def test_a_certificate_that_cannot_be_read_is_a_fault_and_stops_nothing(ingressd: Any) -> None:
    done = ingressd("check", "--certificate", "no.crt:no.key", "shop")
    assert (done.code, done.err) == (1, "")
    assert "no.crt: No such file or directory" in done.out


def test_a_reader_that_goes_away_is_no_traceback(shop: Path, tmp_path: Path) -> None:
    paths = "".join(
        f"          - {{path: /{number}, pathType: Exact, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}\n"
        for number in range(1200)  # their table is twice what a pipe holds
    )
    with (shop / "ingress.yaml").open("a") as file:
        file.write(paths)
    for command in ("routes shop", "routes --output json shop", "explain shop.example shop", "check shop"):
        done = subprocess.run(
            ["bash", "-c", f'"$PYTHON" -m ingressd {command} | head -c 1'],
            cwd=tmp_path,
            env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            check=False,
        )
        assert (len(done.stdout), done.stderr) == (1, b""), command


def on_a_terminal(arguments: list[str], tmp_path: Path, environ: dict[str, str]) -> bytes:
    """What a command prints to a terminal."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ingressd", *arguments],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[3]), **environ},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(terminal)
        printed = b""
        while True:
            try:
                some = os.read(controller, 65536)
            except OSError:  # EIO: the other end is closed
                break
            printed += some
        os.close(controller)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    return printed


@pytest.mark.usefixtures("shop")
def test_colour_is_for_terminals_and_never_with_no_color(ingressd: Any, tmp_path: Path) -> None:
    command = ["explain", "http://shop.example/cart", "shop"]
    assert b"\x1b[" in on_a_terminal(command, tmp_path, {})
    plain = on_a_terminal(command, tmp_path, {"NO_COLOR": "1"})
    assert b"\x1b[3" not in plain
    assert b"won" in plain
    assert "\x1b" not in ingressd(*command).out
