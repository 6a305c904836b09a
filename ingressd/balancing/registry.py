"""The schedulers by name, as `--scheduler` and the annotation `ingressd.dev/scheduler` give it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ingressd.balancing.base import Scheduler
from ingressd.balancing.chance import PowerOfTwoChoices, RandomChoice
from ingressd.balancing.hash_table import DestinationHash, SourceHash
from ingressd.balancing.least_load import (
    LeastConnection,
    NeverQueue,
    ShortestExpectedDelay,
    WeightedLeastConnection,
)
from ingressd.balancing.maglev import Maglev
from ingressd.balancing.peak_ewma import PeakEwma
from ingressd.balancing.round_robin import RoundRobin
from ingressd.balancing.weighted_round_robin import WeightedRoundRobin

Factory = Callable[[random.Random], Scheduler[Any]]
"""Its argument is where chance comes from, so that a simulation can be repeated."""

SCHEDULERS: dict[str, Factory] = {
    "rr": RoundRobin,
    "wrr": WeightedRoundRobin,
    "lc": LeastConnection,
    "wlc": WeightedLeastConnection,
    "sh": SourceHash,
    "dh": DestinationHash,
    "sed": ShortestExpectedDelay,
    "nq": NeverQueue,
    "random": RandomChoice,
    "p2c": PowerOfTwoChoices,
    "ewma": PeakEwma,
    "maglev": Maglev,
}
