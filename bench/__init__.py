"""The benchmark: the same work, side by side, for ingressd and its peers. `python -m bench` from the repository's root.

In: nothing but this machine. Out: a table, a JSON file, two charts; the figure is CPU per request.

scenario.py what is served · peers/ how each proxy is told so and started · upstream.py what they forward to ·
workloads.py what is asked of them · clients/ who asks · process.py, meter.py the processes and what they cost ·
series.py what is compared within one proxy · turns.py in which order · runner.py the rounds ·
studies.py starts, edits and memory · service_updates.py one Service among many ·
targets.py, results.py what the figures mean · report.py, chart.py, growth.py, svg.py what is printed and drawn ·
profile.py, perf.py where a worker's time goes
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository."""
