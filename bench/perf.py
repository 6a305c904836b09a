"""Perf: what perf and strace say of a worker, read. Pure.

In: what `perf report` prints with ; between columns, what `strace -c` prints. Out: shares by kind of function, calls.
"""

from __future__ import annotations

import re

_KINDS: tuple[tuple[str, str, str], ...] = (
    # Kind, pattern of the shared object, pattern of the function; the first that fits both.
    ("kernel", r"\[", ""),
    ("event loop: uvloop", r"^loop\.", ""),
    ("HTTP parser of aiohttp", r"_http_parser", ""),
    ("objects made and freed", "", r"(?i)alloc|free|gc_|gctraverse|_New|mem(cpy|move|set)"),
    ("attributes and dictionaries", "", r"(?i)attr|dict|keys_lookup|_PyType_Lookup|member_(get|set)"),
    ("strings and bytes", "", r"(?i)unicode|bytes|string|str_|utf8|ascii|fastsearch|memchr|sre_"),
    ("interpreter", "python", r"(?i)eval|call|frame|func|method|gen_|descr|locals|PyObject_"),
)
_sampled = re.compile(r"^\s*([\d.]+)%\s*;(.+?)\s*;\s*\[.\] ([^;\n]+)", re.MULTILINE)
_counted = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?!total)(\w+)$", re.MULTILINE)


def kinds(report: str) -> dict[str, float]:
    """The shares in what `perf report` says, by kind of function."""
    found: dict[str, float] = {}
    for share, program, function in _sampled.findall(report):
        kind = next((kind for kind, *both in _KINDS if all(map(re.search, both, (program, function)))), "the rest")
        found[kind] = found.get(kind, 0.0) + float(share)
    return found


def counts(summary: str) -> dict[str, int]:
    """Calls by name in what `strace -c` says."""
    return {name: int(count) for count, name in _counted.findall(summary)}
