"""`ingressd simulate`: what the schedulers do with made-up requests.

In: a scheduler or none for all of them, endpoints, a seed. Out: who was picked how often, and how long answers took.
Nothing is listened to and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingressd.cli.console import console, fail, print_json
from ingressd.cli.offline import Output

if TYPE_CHECKING:
    from ingressd.balancing.simulation import Outcome, Place, Scenario

SHOWN_PICKS = 30
SHOWN_PLACES = 8
"""Columns for endpoints: a table is to be read."""
ENDPOINTS_MAX = 250
"""So many addresses of 10.0.0.0/24 are made up."""
REQUESTS_MAX = 1_000_000
CLIENTS_MAX = 50_000
WEIGHT_MAX = 65_535
"""As an endpoint's."""


def simulate(
    scheduler: Annotated[
        str, typer.Option(metavar="NAME", help="One of `ingressd run`; without it all are compared.")
    ] = "",
    proxy_mode: Annotated[
        str, typer.Option(metavar="MODE", help="One of `ingressd run`, instead of --scheduler.")
    ] = "",
    requests: Annotated[int, typer.Option(min=1, max=REQUESTS_MAX, help="How many are made.")] = 1000,
    endpoints: Annotated[int, typer.Option(min=1, max=ENDPOINTS_MAX, help="How many there are.")] = 3,
    weights: Annotated[str, typer.Option(metavar="N,...", help="Their weights; 1 for those that are left.")] = "",
    answer_ms: Annotated[
        str, typer.Option(metavar="MS,...", help="Mean time of an answer of each; 10 for those that are left.")
    ] = "",
    load: Annotated[float, typer.Option(min=0.01, max=10, help="Requests, of what the endpoints can answer.")] = 0.7,
    clients: Annotated[int, typer.Option(min=1, max=CLIENTS_MAX, help="Addresses that requests come from.")] = 100,
    leaves: Annotated[int, typer.Option(min=0, help="Number of the endpoint that leaves half-way; 0 is none.")] = 0,
    affinity: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="sessionAffinity: ClientIP, with this timeout.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Another one is another course of events.")] = 1,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")] = Output.TEXT,
) -> None:
    """Show whom a scheduler picks. The same command always prints the same.

    Requests arrive at random times, endpoints answer one after the other. What a scheduler is given and does is what
    it is given and does in the proxy; the rest is made up.
    """
    from ingressd.balancing.simulation import Place, Scenario
    from ingressd.balancing.simulation import simulate as run

    names = _schedulers(scheduler, proxy_mode)
    if affinity:
        names = names[:1]  # it makes no difference which
    if leaves > endpoints:
        fail(f"--leaves: there is no endpoint {leaves}: there are {endpoints}")
    places = tuple(
        Place(int(weight), milliseconds / 1000)
        for weight, milliseconds in zip(
            _numbers("--weights", weights, endpoints, 1, low=0, high=WEIGHT_MAX, whole=True),
            _numbers("--answer-ms", answer_ms, endpoints, 10, low=0.001, high=3_600_000, whole=False),
            strict=True,
        )
    )
    if not any(place.weight for place in places):
        fail("--weights: an endpoint of weight 0 takes nothing: give one of them another weight")
    scenarios = [Scenario(name, places, requests, clients, load, leaves, affinity, seed) for name in names]
    outcomes = [run(scenario) for scenario in scenarios]
    if output is Output.JSON:
        print_json([_as_dict(*each) for each in zip(scenarios, outcomes, strict=True)])
    elif len(scenarios) > 1:
        _compare(scenarios, outcomes)
    else:
        _show(scenarios[0], outcomes[0])


def _schedulers(scheduler: str, proxy_mode: str) -> list[str]:
    """The one that a proxy with these settings takes; all of them without any."""
    from pydantic import TypeAdapter, ValidationError

    from ingressd.balancing.registry import SCHEDULERS
    from ingressd.cli.setting_types import TYPES
    from ingressd.settings import Settings

    given = {"scheduler": scheduler, "proxy_mode": proxy_mode}
    given = {name: value for name, value in given.items() if value}
    if not given:
        return [*SCHEDULERS]
    for name, value in given.items():
        try:
            TypeAdapter(TYPES[name]).validate_python(value)
        except ValidationError as refused:
            fail(f"--{name.replace('_', '-')}: {refused.errors()[0]['msg'].removeprefix('Value error, ')}")
    settings: Any = given
    return [Settings(**settings).default_scheduler]


def _numbers(
    flag: str, text: str, count: int, default: float, *, low: float, high: float, whole: bool
) -> Sequence[float]:
    """One number for each endpoint."""
    items = [item.strip() for item in text.split(",")] if text else []
    if len(items) > count:
        fail(f"{flag}: {len(items)} numbers for {count} endpoints")
    numbers: list[float] = []
    for item in items:
        try:
            number = int(item) if whole else float(item)
        except ValueError:
            number = -1
        if not low <= number <= high:
            fail(f"{flag}: {item!r} is not {'a whole number' if whole else 'a number'} from {low:g} to {high:g}")
        numbers.append(number)
    return numbers + [default] * (count - len(items))


def _as_dict(scenario: Scenario, outcome: Outcome) -> dict[str, Any]:
    return {
        "scheduler": scenario.scheduler,
        "seed": scenario.seed,
        "requests": scenario.requests,
        "mean_ms": round(outcome.mean_s * 1000, 3),
        "p99_ms": round(outcome.p99_s * 1000, 3),
        "clients_displaced": outcome.displaced,
        "clients_moved": outcome.moved,
        "endpoints": [
            {
                "endpoint": number,
                "weight": place.weight,
                "answer_ms": round(place.answer_s * 1000, 3),
                "picks": share.picks,
                "peak": share.peak,
            }
            for number, (place, share) in enumerate(zip(scenario.places, outcome.shares, strict=True), 1)
        ],
        "picks": list(outcome.picks),
    }


def _show(scenario: Scenario, outcome: Outcome) -> None:
    screen = console()
    screen.print(f"{scenario.scheduler}: {_meaning(scenario)}\n", soft_wrap=True)
    table = _table("ENDPOINT", "WEIGHT", "ANSWER MS", "PICKS", "SHARE", "MOST AT ONCE")
    for number, (place, share) in enumerate(zip(scenario.places, outcome.shares, strict=True), 1):
        part = share.picks / scenario.requests
        milliseconds = f"{place.answer_s * 1000:g}"
        table.add_row(str(number), str(place.weight), milliseconds, str(share.picks), f"{part:.1%}", str(share.peak))
    screen.print(table)
    first = " ".join(str(pick) for pick in outcome.picks[:SHOWN_PICKS])
    more = " ..." if len(outcome.picks) > SHOWN_PICKS else ""
    screen.print(f"\nthe first picks: {first}{more}", soft_wrap=True)
    screen.print(f"answers take {_ms(outcome.mean_s)} ms on average, 99 of 100 less than {_ms(outcome.p99_s)} ms")
    if scenario.leaves:
        screen.print(
            f"endpoint {scenario.leaves} left half-way: {outcome.displaced} of {scenario.clients} clients had to move"
        )
    screen.print(f"of {scenario.clients} clients {outcome.moved} moved though their endpoint was there")


def _compare(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome]) -> None:
    places = scenarios[0].places
    table = _table("SCHEDULER", *_titles(places), "MEAN MS", "P99 MS", "CLIENTS MOVED")
    for scenario, outcome in zip(scenarios, outcomes, strict=True):
        parts = [f"{share.picks / scenario.requests:.1%}" for share in outcome.shares[:SHOWN_PLACES]]
        table.add_row(
            scenario.scheduler,
            *parts,
            _ms(outcome.mean_s),
            _ms(outcome.p99_s),
            f"{outcome.moved} of {scenario.clients}",
        )
    console().print(table)


def _titles(places: Sequence[Place]) -> list[str]:
    shown = enumerate(places[:SHOWN_PLACES], 1)
    return [f"{number} (WEIGHT {place.weight}, {place.answer_s * 1000:g} MS)" for number, place in shown]


def _meaning(scenario: Scenario) -> str:
    from ingressd.balancing.registry import SCHEDULERS

    if scenario.affinity_s:
        return "has no say, clients stay where a hash of their address leads (sessionAffinity: ClientIP)"
    text = SCHEDULERS[scenario.scheduler].__doc__ or ""
    first = text.strip().splitlines()[0].rstrip(".")
    return first[0].lower() + first[1:]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _table(*titles: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", overflow="fold")
    return table
