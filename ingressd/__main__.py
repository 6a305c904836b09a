"""`python -m ingressd`: the same program as the `ingressd` console script."""

from __future__ import annotations

from ingressd.cli.main import main

if __name__ == "__main__":
    main()
