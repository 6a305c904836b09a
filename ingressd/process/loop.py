"""The event loop of a child: uvloop where it is installed, the standard one elsewhere.

In: a child's main coroutine. Out: its exit code, after one clear line when it could not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import sys
from collections.abc import Callable, Coroutine

from ingressd.collector import resume
from ingressd.errors import StartupError
from ingressd.process.channel import ChannelError
from ingressd.process.child import EXIT_STARTUP


def run(main: Callable[[], Coroutine[None, None, int]]) -> int:
    """Run `main` to its end and return the exit code; EXIT_STARTUP when it raises StartupError."""
    resume()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(main())
    except StartupError as problem:
        with contextlib.suppress(OSError):
            print(f"ingressd: {problem}", file=sys.stderr, flush=True)
        return EXIT_STARTUP
    except (ChannelError, EOFError, TimeoutError) as problem:
        logging.getLogger("ingressd").error("lost the supervisor: %s", problem)
        return 1


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return factory
