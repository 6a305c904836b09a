"""Every module can be imported alone, and no two modules need each other."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ingressd"
SCRIPT = """
import gc, json, os, sys, warnings

gc.disable()
import aiohttp.web, bcrypt, brotli, cryptography.x509, dns.asyncresolver, jwt, passlib.context, prometheus_client
import pydantic, rich.console, rich.table, ssl, typer, uvloop, watchfiles, yaml, zstandard

warnings.simplefilter("error")
gc.freeze()
above = json.loads(sys.argv[1])

def try_below(name):
    for module in (each for each in above if above[each] == name):
        child = os.fork()
        if not child:
            try:
                __import__(module)
                print(module, flush=True)
            except BaseException as problem:
                print(f"{module}: {problem!r}", flush=True)
            try_below(module)
            os._exit(0)
        os.waitpid(child, 0)

try_below("")
"""
"""Forks for each module from a process that has other people's packages and, of ours, one thing that the module needs:
whatever it needs beside that it has to import itself."""


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


def graph() -> dict[str, set[str]]:
    """Module -> what of ours it imports."""
    found = modules()
    return {name: {each for each in needs(path, set(found)) if each in found} for name, path in found.items()}


def above(graph: dict[str, set[str]]) -> dict[str, str]:
    """Module -> of what it imports, that which imports most; empty: it imports nothing of ours."""
    reach: dict[str, set[str]] = {name: {name} for name in graph}
    grown = True
    while grown:
        grown = False
        for name, others in graph.items():
            size = len(reach[name])
            reach[name].update(*(reach[other] for other in others))
            grown |= len(reach[name]) > size
    return {
        name: max(
            (each for each in others if name not in reach[each]), key=lambda each: (len(reach[each]), each), default=""
        )
        for name, others in graph.items()
    }


def test_every_module_can_be_imported_alone() -> None:
    tree = above(graph())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(tree)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(tree)


def test_no_module_needs_itself_by_way_of_others() -> None:
    found = graph()
    assert len(found) > 100
    settled: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in settled:
            for other in sorted(found[name]):
                walk(other, (*way, name))
            settled.add(name)

    for name in found:
        walk(name, ())
