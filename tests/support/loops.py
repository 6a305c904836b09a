"""Both event loops: the standard one, and uvloop, on which workers run where it is installed."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test on each of them."""

    @functools.wraps(test)
    def run(*arguments: Any, loop_factory: Callable[[], asyncio.AbstractEventLoop], **named: Any) -> None:
        async def main() -> None:
            await test(*arguments, **named)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())

    signature = inspect.signature(test)
    extra = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])  # type: ignore[attr-defined]
    factories = pytest.mark.parametrize(
        "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    return factories(run)
