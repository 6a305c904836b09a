"""Reload under load: one edit a second for as long as wrk runs, and whether each was served.

In: a running proxy and a running wrk. Out: wrk's Sample; an edit that was never served is an error in it.
"""

from __future__ import annotations

import dataclasses
import time

from bench.clients.sample import Sample
from bench.clients.wrk import Wrk
from bench.peers.base import Peer, Running
from bench.process import StartError
from bench.scenario import EDITED_HOST, edition_path

EVERY_S = 1.0
SERVED_LIMIT_S = 30.0


def reload_under_load(peer: Peer, running: Running, wrk: Wrk) -> Sample:
    """Edit until wrk ends, then see that the last edition is served. Raises ClientError."""
    try:
        while wrk.running:
            peer.edit(running, running.scenario.edition + 1)()
            time.sleep(EVERY_S)
        sample = wrk.result()
    finally:
        wrk.kill()
    try:
        running.until_served(EDITED_HOST, edition_path(running.scenario.edition), SERVED_LIMIT_S)
    except StartError:
        return dataclasses.replace(
            sample, errors=sample.errors + 1, error_note=f"{sample.error_note} the last edit was not served".strip()
        )
    return sample


def served_s(running: Running, edition: int, saved_at: float) -> float:
    """Seconds from `saved_at` until that edition answers. Raises StartError."""
    running.until_served(EDITED_HOST, edition_path(edition), SERVED_LIMIT_S)
    return time.monotonic() - saved_at
