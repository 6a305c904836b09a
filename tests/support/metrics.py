"""What /metrics says, read by the parser of prometheus_client."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.program import Program


def families(program: Program) -> dict[str, Metric]:
    """All metrics by name."""
    status, text = program.admin("/metrics")
    assert status == 200, text
    return {family.name: family for family in text_string_to_metric_families(text)}


def sample(program: Program, name: str, /, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    samples = [sample for family in families(program).values() for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())
