"""Successor: the version of the program that takes the place of this one, from SIGUSR2 to the exec.

In: the command line of the start, a crew. Out: a trial, which imports all that a supervisor imports and reads the
settings and the handover but opens no port; and then this very process is the new version. Standard library only.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from typing import NoReturn

from ingressd.process import handover
from ingressd.process.child import how_it_ended, python
from ingressd.process.crew import Crew
from ingressd.process.handover import Plan
from ingressd.process.pid_file import MODULE

TRIAL_S = 30.0
"""For reading settings; the imports of a cold disk are most of it."""
QUIET_S = 0.05
"""How often is looked whether all channels are idle, once the trial has gone well."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
"""Those that a supervisor takes. They are blocked while it is exec'd, and wait for the handlers of the new version."""

VARIABLE = "_INGRESSD_TRIAL"
"""Tells `ingressd run` that it is a trial: the descriptors of the plan to write and of the handover to read."""
TOKEN = "INGRESSD_ADMIN_TOKEN"  # noqa: S105 - the name of the variable
"""Was taken out of the environment at the start, where `ps e` shows it; a trial reads it again."""

_log = logging.getLogger("ingressd.supervisor")


class Successor:
    """At most one is on its way."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._trial: subprocess.Popen[bytes] | None = None
        self._plan: int | None = None
        """The trial writes it."""
        self._passed = False
        self.deadline: float | None = None
        """Monotonic seconds by when this process is the new version, or gives it up."""

    @property
    def on_its_way(self) -> bool:
        """Tried, or about to take over."""
        return self._plan is not None

    @property
    def pid(self) -> int:
        """Of the trial; 0 = none runs."""
        return self._trial.pid if self._trial else 0

    def look_again_s(self, now: float) -> float | None:
        """When to call `step`, without any news."""
        return now + QUIET_S if self._passed else self.deadline

    def start(self, crew: Crew, now: float) -> None:
        """Begin the trial."""
        self._plan = handover.memory_file("ingressd-plan")
        self.deadline = now + TRIAL_S
        handed = handover.hand_over(crew)
        token = crew.asked.admin_token
        try:
            self._trial = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*python(), "ingressd", *self._command],
                env={**os.environ, VARIABLE: f"{self._plan} {handed}", **({TOKEN: token} if token else {})},
                stdin=subprocess.DEVNULL,
                pass_fds=(self._plan, handed),
                start_new_session=True,
            )
        except OSError as problem:
            self._give_up(f"the new version could not be started: {problem.strerror}")
        finally:
            os.close(handed)

    def tried(self, wait_status: int) -> None:
        """The trial was reaped."""
        code = os.waitstatus_to_exitcode(wait_status)
        if self._trial is not None:
            self._trial.returncode = code
            self._trial = None
        if code == 0:
            self._passed = True
        else:
            self._give_up(f"the trial of the new version: {how_it_ended(code)}")

    def step(self, crew: Crew, now: float, signals: Sequence[int]) -> None:
        """Take over when that is possible now; give up when it is too late. `signals` are those not acted on yet."""
        late = self.deadline is not None and self.deadline <= now
        if late and self._trial is not None:
            self.deadline = None
            self.kill()
        elif late:
            self._give_up("a child does not read what it is told")
        elif self._passed and self._plan is not None and crew.quiet:
            self._become(self._plan, crew, signals)

    def kill(self) -> None:
        """End the trial."""
        if self._trial is not None:
            os.kill(self._trial.pid, signal.SIGKILL)

    def _become(self, plan: int, crew: Crew, signals: Sequence[int]) -> None:
        """The same process goes on as the new version, with every child and socket. Returns when it cannot."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if not signals:
            handed = handover.hand_over(crew)
            numbers = [plan, handed, *handover.descriptors(crew)]
            _let_inherit(numbers, True)
            try:
                become(plan, handed)
            except OSError as problem:
                _let_inherit(numbers, False)
                os.close(handed)
                self._give_up(problem.strerror or str(problem))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _give_up(self, why: str) -> None:
        _log.error("the upgrade was given up: %s", why)
        if self._plan is not None:
            os.close(self._plan)
        self._plan, self._passed, self.deadline = None, False, None


def become(*numbers: int) -> NoReturn:
    """Exec the supervisor on descriptors that it inherits: a plan, and a handover if there is one. Raises OSError."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*python(), MODULE, *(str(number) for number in numbers)])  # noqa: S606


def answer_trial(environ: MutableMapping[str, str], plan: Plan) -> bool:
    """In the new version: whether this is a trial. Then its plan is written. Raises StartupError: it cannot go on."""
    numbers = environ.pop(VARIABLE, "")
    if not numbers:
        return False
    written, handed = (int(each) for each in numbers.split())
    handover.read(handed)
    plan.save(written)
    return True


def _let_inherit(numbers: Sequence[int], inherit: bool) -> None:
    for number in numbers:
        os.set_inheritable(number, inherit)
