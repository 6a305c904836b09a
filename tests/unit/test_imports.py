"""Every module can be imported alone, and no two modules need each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ingressd"
SCRIPT = """
import os, sys, warnings
import aiohttp.web, bcrypt, brotli, cryptography.x509, dns.asyncresolver, jwt, passlib.context, prometheus_client
import pydantic, rich.console, rich.table, ssl, typer, uvloop, watchfiles, yaml, zstandard

warnings.simplefilter("error")
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            __import__(name)
        except BaseException as problem:
            print(f"{name}: {problem!r}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
"""Forked for each module from a process that has other people's packages, and nothing of ours."""


def modules() -> dict[str, Path]:
    """Name -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__":
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def needs(path: Path, names: set[str]) -> Iterator[str]:
    """What a module imports when it is imported: neither for type checkers only nor inside of functions."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in names else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_module_can_be_imported_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *modules()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_module_needs_itself_by_way_of_others() -> None:
    found = modules()
    graph = {name: {each for each in needs(path, set(found)) if each in found} for name, path in found.items()}
    assert len(graph) > 100
    settled: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in settled:
            for other in sorted(graph[name]):
                walk(other, (*way, name))
            settled.add(name)

    for name in graph:
        walk(name, ())
