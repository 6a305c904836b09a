"""`python -m fuzz`: the command line of the fuzzer."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz import CORPUS, targets
from fuzz.minimise import minimise

WORK = Path("build/fuzz")
"""Inputs that a run has made, by target; and dictionaries, and what broke a check."""
SECONDS = 300
INPUT_BYTES = 4096
INPUT_S = 10
"""One input may take no longer."""
MEMORY_MIB = 2048
FAILED = 2


def main() -> int:
    """Returns the exit code: 0, what the fuzzer ended with, or 2 when it could not begin."""
    options = _options()
    if options.target == "all":
        return _each(options)
    if options.minimise:
        kept = minimise(options.target, WORK / options.target)
        print(f"fuzz: {kept} inputs in {CORPUS / options.target}")
        return 0
    if options.replay:
        return _replay(options.target, options.replay)
    return _fuzz(options.target, options.seconds)


def _each(options: argparse.Namespace) -> int:
    """One after the other, each in a process of its own; the first finding ends it."""
    for name in targets.NAMES:
        print(f"fuzz: {name}", flush=True)
        command = [sys.executable, "-m", "fuzz", name, f"--seconds={options.seconds}"]
        if options.minimise:
            command.append("--minimise")
        if code := subprocess.run(command, check=False).returncode:
            print(f"fuzz: {name} ended with {code}", file=sys.stderr)
            return code
    return 0


def _replay(name: str, paths: Sequence[Path]) -> int:
    check = targets.load(name).check
    failed = 0
    for path in paths:
        try:
            check(path.read_bytes())
        except Exception:
            failed += 1
            print(f"fuzz: {path}:\n{traceback.format_exc()}", file=sys.stderr)
    print(f"fuzz: {len(paths)} inputs, {failed} of them broke a promise")
    return 1 if failed else 0


def _fuzz(name: str, seconds: int) -> int:
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print("fuzz: atheris is missing: make fuzz, or pip install -e '.[fuzz]'", file=sys.stderr)
        return FAILED
    with atheris.instrument_imports(include=["ingressd"]):
        target = targets.load(name)
    found = WORK / name
    found.mkdir(parents=True, exist_ok=True)
    words = WORK / f"{name}.words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.WORDS))
    atheris.Setup(
        [
            f"fuzz {name}",
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_BYTES}",
            f"-timeout={INPUT_S}",
            f"-rss_limit_mb={MEMORY_MIB}",
            f"-dict={words}",
            f"-artifact_prefix={WORK}/{name}-",
            "-print_final_stats=1",
            str(found),
            str(CORPUS / name),
        ],
        target.check,
    )
    atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=[*targets.NAMES, "all"])
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long each target runs (default: %(default)s)")
    parser.add_argument(
        "--minimise",
        action="store_true",
        help="keep in the corpus what the last run found, one input for each new line",
    )
    parser.add_argument("--replay", type=Path, nargs="+", help="check these inputs, and run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
