"""Endpoints of an Affinity, without a network."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """An endpoint that is only its key."""

    key: str


def places(count: int) -> list[Place]:
    """The first so many of a row of endpoints."""
    return [Place(f"10.0.{number // 250}.{number % 250}:80") for number in range(count)]
