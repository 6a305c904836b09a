"""`python -m bench`: the command line of the benchmark."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from bench import ROOT, peers, series, service_updates, studies, workloads
from bench.certificate import make_certificate
from bench.chart import chart
from bench.growth import growth
from bench.process import StartError, end_all
from bench.report import report
from bench.results import Gap, Results
from bench.runner import OutOfTimeError, Runner, Stand
from bench.service_updates import ServiceUpdates
from bench.studies import Studies, Study
from bench.targets import verdicts
from bench.upstream import running_upstream
from bench.workloads import Workload

ROUNDS, SECONDS = 3, 2.0
MINUTES = 35.0
"""What a whole run may take. Nothing is begun after it, and what is missing then is said."""
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0
STUDY_ROUNDS = 1
"""Beside workloads; alone, a study has all rounds. A start is seen once in each, an edit several times."""
STUDY_HOSTS, QUICK_STUDY_HOSTS = 10_000, 500
START_LIMIT_S = 60.0
MEMORY_FOLDER = Path("/dev/shm")
"""Logs and bodies of the upstream go where no disk takes part."""
FAILED = 2


def main(arguments: Sequence[str]) -> int:
    """Run, print, write. Returns the exit code: 0, or 2 when nothing could be measured."""
    options = _options(arguments)
    if options.list:
        _list()
        return 0
    if options.drawn:
        return _draw_again(options)
    names = [*(one.name for one in workloads.ALL), *(one.name for one in studies.ALL), service_updates.NAME]
    chosen = _choose("--workload", options.workload, names, series.GROUPS)
    some_workloads = [one for one in workloads.ALL if one.name in chosen]
    pairs = series.PAIRS
    if options.pair:
        some_workloads = _pair(options.pair)
        chosen = [one.name for one in some_workloads]
        pairs = ((chosen[0], chosen[1]),)
        options.peers = options.peers or peers.OWN
    chosen_peers = _choose("--peers", options.peers, [peer.name for peer in peers.ALL])
    results = Results(machine=_machine())
    if options.quick and not options.workload and not options.pair:
        left_out = [one for one in some_workloads if one.heavy]
        results.gaps += [Gap(one.name, "all", "left out by --quick") for one in left_out]
        some_workloads = [one for one in some_workloads if not one.heavy]
    some_studies = [one for one in studies.ALL if one.name in chosen]
    _turn_signals_into_exceptions()
    try:
        _measure(options, results, some_workloads, some_studies, chosen_peers, updates=service_updates.NAME in chosen)
    except StartError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return FAILED
    finally:
        end_all()
    _write(options, results, some_workloads, chosen_peers, pairs)
    return 0 if results.measurements or results.figures else FAILED


def _list() -> None:
    print("\n".join(f"{one.name:18} {one.title} ({one.scenario.label})" for one in workloads.ALL))
    print("\n".join(f"{one.name:18} cold start, memory, edits" for one in studies.ALL))
    print(f"{service_updates.NAME:18} one edited Service among {service_updates.SERVICES:,}")
    print("\n".join(f"{name:18} all of: {', '.join(members)}" for name, members in series.GROUPS.items()))


def _draw_again(options: argparse.Namespace) -> int:
    """The report and the charts out of a JSON file, without a measurement."""
    try:
        results = Results.from_json(json.loads(options.drawn.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"bench: --from: {options.drawn} is not what --json writes: {problem!r}", file=sys.stderr)
        return FAILED
    measured = {one.workload for one in results.measurements}
    told = {one.peer for one in results.measurements} | {one.peer for one in results.figures}
    told |= {gap.peer for gap in results.gaps if not gap.workload}
    some_workloads = [one for one in workloads.ALL if one.name in measured]
    _write(options, results, some_workloads, [peer.name for peer in peers.ALL if peer.name in told], series.PAIRS)
    return 0


def _pair(given: str) -> list[Workload]:
    """Two workloads, whichever, as one cluster: both proxies are started, one is loaded at a time."""
    names = _choose("--pair", given, [one.name for one in workloads.ALL])
    if len(dict.fromkeys(names)) != 2:
        raise SystemExit(f"bench: --pair: {given!r} is not two workloads, as in services-10,services-50000")
    by_name = {one.name: replace(one, cluster="pair", compared=True) for one in workloads.ALL}
    return [by_name[name] for name in names]


def _measure(
    options: argparse.Namespace,
    results: Results,
    some_workloads: Sequence[Workload],
    some_studies: Sequence[Study],
    chosen_peers: Sequence[str],
    *,
    updates: bool,
) -> None:
    proxy_cores, load_cores = _cores(options)
    os.sched_setaffinity(0, load_cores)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    study_rounds = min(rounds, STUDY_ROUNDS) if some_workloads else rounds
    results.settings = {
        "rounds": rounds,
        "seconds": seconds,
        "proxy_cores": list(proxy_cores),
        "load_cores": list(load_cores),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    present = []
    for peer in (peer for peer in peers.ALL if peer.name in chosen_peers):
        if reason := peer.missing():
            _say(f"MISSING {reason}")
            results.gaps.append(Gap("", peer.name, reason))
        else:
            results.versions[peer.name] = peer.version()
            present.append(peer)
    memory = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ingressd-bench-", dir=options.folder or memory) as name:
        folder = Path(name)
        certificate, key = make_certificate(folder)
        with running_upstream(folder / "upstream", list(load_cores)) as upstream:
            stand = Stand(
                folder,
                upstream,
                certificate,
                key,
                proxy_cores,
                load_cores,
                rounds,
                seconds,
                options.start_limit,
                time.monotonic() + options.minutes * 60,
                _say,
            )
            try:
                Runner(stand, results).run(some_workloads, present)
                hosts = QUICK_STUDY_HOSTS if options.quick else STUDY_HOSTS
                if updates and peers.OWN in chosen_peers:
                    services = service_updates.QUICK_SERVICES if options.quick else service_updates.SERVICES
                    ServiceUpdates(stand, results, services).run()
                Studies(stand, results, hosts, study_rounds).run(some_studies, present)
            except (KeyboardInterrupt, OutOfTimeError) as end:
                over = isinstance(end, OutOfTimeError)
                reason = f"the {options.minutes:g} minutes of --minutes were over" if over else "interrupted"
                _say(reason)
                names = [peer.name for peer in present]
                results.note_unreached([one.name for one in some_workloads], names, rounds, reason)
                results.note_unreached([one.name for one in some_studies], names, study_rounds, reason)
                if updates and peers.OWN in names:
                    results.note_unreached([service_updates.NAME], [peers.OWN], rounds, reason)


def _write(
    options: argparse.Namespace,
    results: Results,
    some_workloads: Sequence[Workload],
    chosen_peers: Sequence[str],
    pairs: Sequence[tuple[str, str]],
) -> None:
    own = peers.OWN
    names = [peer.name for peer in peers.ALL if peer.name in chosen_peers]
    found = verdicts(results, own)
    print(report(results, own, names, some_workloads, found, pairs), end="")
    if options.json:
        value = results.to_json(own, names, [one.name for one in some_workloads])
        value["targets"] = [
            {
                "target": one.target.title,
                **asdict(one.target),
                "ratio": None if one.ratio is None else asdict(one.ratio),
                "verdict": one.word,
            }
            for one in found
        ]
        options.json.write_text(json.dumps(value, indent=1) + "\n")
    drawings = ((options.chart, chart(results, own, names, some_workloads)), (options.growth, growth(results, own)))
    for file, drawing in drawings:
        if file and drawing:
            file.write_text(drawing)
        elif file:
            _say(f"{file} is not written: nothing that it shows was measured")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="ingressd and its peers, side by side.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--workload", metavar="NAME,...", help="only these; --list tells them, and groups of them")
    which.add_argument("--pair", metavar="A,B", help="only these two, and their ratio; of ingressd without --peers")
    parser.add_argument("--peers", metavar="NAME,...", help=f"only these of {', '.join(one.name for one in peers.ALL)}")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"[{ROUNDS}]")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"of each measurement [{SECONDS:g}]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="write the chart of all proxies")
    parser.add_argument(
        "--growth", type=Path, metavar="FILE.svg", help="write the chart of more Services, hosts, paths"
    )
    parser.add_argument(
        "--from", dest="drawn", type=Path, metavar="FILE", help="measure nothing: use what --json wrote"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M", help=f"of the whole run [{MINUTES:g}]")
    parser.add_argument("--quick", action="store_true", help="one round of a second, without the largest tables")
    parser.add_argument("--list", action="store_true", help="tell the workloads and end")
    parser.add_argument("--cores", metavar="P,...:L", help="cores of the proxy and of the load [0:1]")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="for logs and configurations [in memory]")
    parser.add_argument("--start-limit", type=float, default=START_LIMIT_S, metavar="S", help=f"[{START_LIMIT_S:g}]")
    return parser.parse_args(arguments)


def _choose(
    flag: str, given: str | None, known: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """The names that were given, groups taken apart; all without any."""
    groups = groups or {}
    given_names = [name.strip() for name in given.split(",")] if given else list(known)
    wanted = [member for name in given_names for member in groups.get(name, [name])]
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"bench: {flag}: {', '.join(unknown)}: known are {', '.join([*known, *groups])}")
    return wanted


def _cores(options: argparse.Namespace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cores of the proxy (a second one for two workers, where there is a third) and of everything else."""
    allowed = sorted(os.sched_getaffinity(0))
    if options.cores:
        proxy, _, load = options.cores.partition(":")
        try:
            chosen = tuple(map(int, proxy.split(","))), tuple(map(int, load.split(",")))
        except ValueError:
            raise SystemExit(f"bench: --cores: {options.cores!r} is not like 0:1 or 0,2:1") from None
        if missing := {*chosen[0], *chosen[1]} - {*allowed}:
            raise SystemExit(f"bench: --cores: no core {', '.join(map(str, sorted(missing)))} here")
        return chosen
    if len(allowed) < 2:
        raise SystemExit("bench: one core is not enough: the proxy needs one and the load generator another")
    return (allowed[0], *allowed[2:3]), (allowed[1],)


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _turn_signals_into_exceptions() -> None:
    """So that everything that was started is ended, also in the background of a script, where SIGINT is ignored."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
