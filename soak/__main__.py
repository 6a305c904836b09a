"""`python -m soak`: the command line of the soak."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path

from bench.process import StartError
from soak.certificates import Authority
from soak.clients import Load, Ports
from soak.connection import now
from soak.disturbances import Disturbances
from soak.ledger import Ledger
from soak.program import Program, backends
from soak.samples import Sampler, descriptors_of
from soak.site import Site
from soak.verdict import WARM_UP_S, problems, table

MINUTES = 30.0
ARGUMENTS = (
    "--workers=2",
    "--drain-timeout=10",
    # The load comes from the same cores, so that the loop may be late for no fault of its own.
    "--limit=loop_lag_s=0",
    "--limit=request_head_s=3",
    "--limit=tls_handshake_s=3",
    "--limit=keepalive_idle_s=10",
    "--limit=upstream_idle_s=5",
)
CERTIFICATES = 3
SETTLE_S = 30.0
"""By then every idle connection is closed."""
STAYS_OPEN = 2
"""Descriptors that a process may open for good while it works: a log, a pipe of a pool of threads."""
SHORT_WARM_UP = 0.2
"""Of a soak too short for WARM_UP_S."""


def main() -> int:
    """Returns 0, 1 when something must not be, 2 when the program did not come up."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of load (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="for the logs, which are kept then")
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a connection that was killed
    with tempfile.TemporaryDirectory(prefix="ingressd-soak-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return asyncio.run(_soak(folder, options.minutes * 60))
        except (StartError, TimeoutError) as problem:
            print(f"soak: {problem}", file=sys.stderr)
            return 2


async def _soak(folder: Path, seconds: float) -> int:
    authority = Authority()
    ledger, sampler = Ledger(), Sampler()
    with backends(2) as ports:
        site = Site(folder / "site", ports, [authority.pair() for _ in range(CERTIFICATES)])
        program = Program(folder, site.folder, ARGUMENTS, sorted(os.sched_getaffinity(0)))
        try:
            await program.until_ready()
            await asyncio.sleep(1)
            before: dict[str, int] = {}
            for pid, role in program.roles.items():
                before[role] = max(before.get(role, 0), descriptors_of(pid))
            load = Load(Ports(program.ports["http"], program.ports["https"], authority.trusting()), ledger)
            await load.warm_up()
            disturbances = Disturbances(program, site, ledger)
            watch = asyncio.create_task(_watch(program, sampler, now()))
            await asyncio.gather(load.run(seconds), disturbances.run(seconds))
            watch.cancel()
            left_open = await _left_open(program, before)
            program.stop()
        finally:
            program.process.stop()
    (folder / "samples.csv").write_text(sampler.csv())
    warm_up_s = min(WARM_UP_S, seconds * SHORT_WARM_UP)
    histories = [each.after(warm_up_s) for each in sampler.histories.values()]
    print("\n".join(table(histories)))
    print(", ".join(f"{count} {name}" for name, count in sorted(disturbances.counts.items())))
    print(", ".join(f"{count} x {name}" for name, count in sorted(ledger.done.items())))
    unexplained = len(ledger.unexplained())
    print(
        f"{len(ledger.failures)} failures, {len(ledger.failures) - unexplained} of them explained by kills of workers"
    )
    found = problems(histories, ledger, left_open, program.log)
    print("\n".join(f"FAILED: {each}" for each in found) or "passed")
    return 1 if found else 0


async def _watch(program: Program, sampler: Sampler, started: float) -> None:
    while True:
        await program.status()
        sampler.look(now() - started, program.roles)
        await asyncio.sleep(1)


async def _left_open(program: Program, before: dict[str, int]) -> dict[str, int]:
    """Once there is no load, each process has what one of its role had before; else how many more."""
    deadline = now() + SETTLE_S
    while True:
        await program.status()
        more = {f"{role} {pid}": descriptors_of(pid) - before[role] for pid, role in program.roles.items()}
        left = {who: count for who, count in more.items() if count > STAYS_OPEN}
        if not left or now() > deadline:
            return left
        await asyncio.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
