"""`python -m tests.golden.update CASE...`: write what the compiler makes of the cases into their tables.

The table is what has to be read before it is committed: it says what the compiler does, not that it is right.
"""

from __future__ import annotations

import sys

from tests.golden.golden_case import Case, cases, expected_file


def main(names: list[str]) -> int:
    """Write the tables of these cases; exit code 2 when one does not exist."""
    unknown = sorted(set(names) - set(cases()))
    if unknown or not names:
        print(f"no such case: {', '.join(unknown)}" if unknown else "name the cases to write", file=sys.stderr)
        return 2
    for name in names:
        expected_file(name).write_text(Case(name).table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
