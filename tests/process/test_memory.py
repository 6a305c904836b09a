"""What a worker asks of the kernel for the bytes that pass through it."""

from __future__ import annotations

import resource
from contextlib import closing
from pathlib import Path

from tests.process.conftest import Backend, Launch
from tests.support.program import Program
from tests.support.site import Site

BODY_BYTES = 2**20
RESPONSES = 20
USUAL = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_TOP_PAD_": "0", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""What glibc does when nobody says anything."""


def _page_faults(pid: int) -> int:
    """Minor faults of a process, by proc_pid_stat(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def _pages_a_response(program: Program) -> float:
    (worker,) = program.pids()["workers"]
    for _ in range(3):
        program.get()  # the first find the sizes out
    before = _page_faults(worker)
    for _ in range(RESPONSES):
        assert program.get() == (200, "x" * BODY_BYTES)
    return (_page_faults(worker) - before) / RESPONSES


def test_the_pieces_of_a_long_body_take_the_same_memory_again(launch: Launch, site: Site) -> None:
    with closing(Backend("x" * BODY_BYTES)) as long:
        site.route("a.localhost", long)
        arguments = (str(site.folder), "--workers=1")
        ours = _pages_a_response(launch(*arguments).until_ready())
        theirs = _pages_a_response(launch(*arguments, environ=USUAL).until_ready())
    body = BODY_BYTES / resource.getpagesize()
    assert theirs > body, "the operator's own settings do not count"
    assert ours < body / 4
