"""`python -m ingressd`: the same program as the `ingressd` console script."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # `main` enables it when all is imported

from ingressd.cli.main import main

if __name__ == "__main__":
    main()
