"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A loaded machine is slow, not wrong; and what CI finds must be found again by who looks into it.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
