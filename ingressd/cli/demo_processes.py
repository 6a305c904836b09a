"""The two child processes of the demo: all demo apps, and the proxy.

In: what to start. Out: a running child that is ready, or StartupError with one line. Stopping is polite first.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ingressd.errors import StartupError

APPS_READY_S = 30.0
PROXY_READY_S = 30.0
STOP_S = 10.0
"""More than --drain-timeout of the demo's proxy."""
_POLL_S = 0.05


class Child:
    """A process that ends with the demo. Use as a context manager."""

    def __init__(self, command: Sequence[str], directory: Path | None = None, *, talks: bool = False) -> None:
        # A process group of its own: Ctrl-C goes to the demo alone, which then ends its children in order.
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else None,
            process_group=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def running(self) -> bool:
        """It has not ended by itself."""
        return self.process.poll() is None


def stop_on_sigterm() -> None:
    """SIGTERM ends the demo as Ctrl-C does: by KeyboardInterrupt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def start_apps(examples: Path, endpoints: Path) -> tuple[Child, dict[str, Any]]:
    """Start the demo apps of `examples`; they write EndpointSlices to `endpoints`. Returns what they say when ready."""
    child = Child([sys.executable, "-m", "apps", "--endpoints", str(endpoints)], examples, talks=True)
    with _ended_on_failure(child):
        assert child.process.stdout is not None
        readable, _, _ = select.select([child.process.stdout], [], [], APPS_READY_S)
        line = child.process.stdout.readline() if readable else b""
        if not line:
            raise StartupError("the demo apps did not start")
        ready: dict[str, Any] = json.loads(line)
        return child, ready


def start_proxy(arguments: Sequence[str], admin_port: int) -> Child:
    """Run `ingressd run` with `arguments`; returns once every worker serves."""
    child = Child([sys.executable, "-m", "ingressd", "run", *arguments])
    with _ended_on_failure(child):
        deadline = time.monotonic() + PROXY_READY_S
        while child.running and time.monotonic() < deadline:
            if _ready(admin_port):
                return child
            time.sleep(_POLL_S)
        raise StartupError("the proxy did not start")


@contextmanager
def _ended_on_failure(child: Child) -> Iterator[None]:
    """Until it is ready nobody else ends it: also not on Ctrl-C."""
    try:
        yield
    except BaseException:
        child.__exit__(None, None, None)
        raise


def _ready(admin_port: int) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{admin_port}/readyz", timeout=1) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
