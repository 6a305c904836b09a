"""The report about tests/unit/migration/site, beside which it stands in each of its three forms.

`python -m tests.unit.migration.golden_report` writes what it is now; it has to be read before it is committed.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

from ingressd.compile.options import CompileOptions
from ingressd.migration import pages
from ingressd.migration.differences import EVERYWHERE
from ingressd.migration.report import Report, report
from ingressd.sources.files import FileSource

FOLDER = Path(__file__).parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FORMS = ("txt", "md", "json")


def site() -> Report:
    """Read from within the folder: places are names of files then."""
    with contextlib.chdir(FOLDER):
        resources = FileSource(("site",), events=False).load()
    return report(resources, CompileOptions(now=NOW, https_port=8443), EVERYWHERE)


def shown(form: str) -> str:
    """The report in one of its forms."""
    if form == "json":
        return json.dumps(site().as_dict(), indent=2) + "\n"
    lines = pages.markdown(site()) if form == "md" else pages.text(site())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for each in FORMS:
        (FOLDER / f"report.expected.{each}").write_text(shown(each))
