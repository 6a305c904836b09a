"""What holds for all tests."""

from __future__ import annotations

import os
import sys

from hypothesis import settings

# Hundreds of programs are started here: each would compile all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A loaded machine is slow, not wrong; and what CI finds must be found again by who looks into it.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
