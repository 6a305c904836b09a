"""Memory in use, as the files of control groups and of the host tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingressd.listener.memory import Memory

MIB = 1024 * 1024
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


def root(folder: Path, group: str, files: dict[str, str | int], available_kb: int = 800_000) -> Path:
    """A file system with these files; the host has 1,000,000 kB."""
    host = f"MemTotal:        1000000 kB\nMemFree: 1 kB\nMemAvailable:    {available_kb} kB\n"
    for path, content in {"proc/self/cgroup": group, "proc/meminfo": host, **files}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return folder


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({f"{V2}/memory.max": 100 * MIB, f"{V2}/memory.current": 40 * MIB}, 0.4),
        (
            {
                f"{V2}/memory.max": 100 * MIB,
                f"{V2}/memory.current": 96 * MIB,
                f"{V2}/memory.stat": f"anon 1\ninactive_file {6 * MIB}\nactive_file 7",
            },
            0.9,
        ),
        ({f"{V2}/memory.max": "max", f"{V2}/memory.current": 96 * MIB}, 0.2),
        ({f"{V2}/memory.max": 10**15, f"{V2}/memory.current": 96 * MIB}, 0.2),
        ({f"{V2}/memory.max": 100 * MIB}, 0.2),
        ({}, 0.2),
    ],
)
def test_the_share_of_a_container_s_limit_counts_without_cache_and_else_the_host_s(
    tmp_path: Path, files: dict[str, str | int], share: float
) -> None:
    assert Memory(root(tmp_path, "0::/", files)).share() == pytest.approx(share)


def test_the_tightest_of_the_groups_around_the_process_counts(tmp_path: Path) -> None:
    files: dict[str, str | int] = {
        f"{V2}/a.slice/b.service/memory.max": "max",
        f"{V2}/a.slice/b.service/memory.current": MIB,
        f"{V2}/a.slice/memory.max": 10 * MIB,
        f"{V2}/a.slice/memory.current": 3 * MIB,
    }
    assert Memory(root(tmp_path, "0::/a.slice/b.service", files)).share() == pytest.approx(0.3)


@pytest.mark.parametrize("group", ["4:memory:/", "5:cpu:/\n4:memory:/not/seen/from/inside\n0::/"])
def test_the_first_version_of_control_groups_is_understood(tmp_path: Path, group: str) -> None:
    files: dict[str, str | int] = {
        f"{V1}/memory.limit_in_bytes": 100 * MIB,
        f"{V1}/memory.usage_in_bytes": 90 * MIB,
        f"{V1}/memory.stat": f"inactive_file 5\ntotal_inactive_file {20 * MIB}",
    }
    assert Memory(root(tmp_path, group, files)).share() == pytest.approx(0.7)


def test_a_limit_that_is_changed_counts_at_once(tmp_path: Path) -> None:
    files: dict[str, str | int] = {f"{V2}/memory.max": 100 * MIB, f"{V2}/memory.current": 10 * MIB}
    memory = Memory(root(tmp_path, "0::/", files))
    assert memory.share() == pytest.approx(0.1)
    (tmp_path / f"{V2}/memory.max").write_text(f"{20 * MIB}\n")
    assert memory.share() == pytest.approx(0.5)


def test_nothing_known_is_no_reason_to_refuse_anybody(tmp_path: Path) -> None:
    assert Memory(tmp_path).share() == 0.0


def test_this_machine_tells_something() -> None:
    assert 0.0 < Memory().share() < 1.0
