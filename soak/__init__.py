"""Soak: the whole program under mixed load for half an hour, while its manifests change and its processes are killed.

`python -m soak --minutes 30` ends by itself, prints a table and fails when a process grows, when descriptors stay open,
or when a request failed for a reason that no kill explains. `python -m soak.slow` is what slow clients cost the others.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
ADDRESS = "127.0.0.1"
HOST = "soak.localhost"
