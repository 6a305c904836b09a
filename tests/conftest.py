"""What holds for all tests."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

# Hundreds of programs are started here: each would compile all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A loaded machine is slow, not wrong; and what CI finds must be found again by who looks into it.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

LONG = (
    "tests/process/",
    "tests/wire/",
    "tests/faults/",
    "tests/clients/",
    "tests/examples/",
    "tests/unit/test_imports.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: when one of several processes is done, the others have little left."""
    items.sort(key=lambda item: [not item.nodeid.startswith(folder) for folder in LONG])
