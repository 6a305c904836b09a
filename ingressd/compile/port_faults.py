"""What is said of a Service's port that the program could not open. The reason comes from outside: compile opens none.

In: a listener, where it is written, the error of the system and who has the port. Out: a Fault with the way out.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from ingressd.errors import Fault, Severity
from ingressd.model.resource import Resource
from ingressd.model.service import Service
from ingressd.model.shape import Loc
from ingressd.table.stream import StreamListener

_AGAIN = "it is tried again every few seconds"


@dataclass(frozen=True, slots=True)
class PortProblem:
    """Why a listener is not open."""

    number: int
    """The errno."""
    holder: str = ""
    """Who has the port, as `redis-server (process 4711)`; empty = it is not known, or nobody has it."""

    def __str__(self) -> str:
        return f"{self.holder} has it" if self.holder else os.strerror(self.number)


def port_fault(listener: StreamListener, service: Resource[Service], loc: Loc, problem: PortProblem) -> Fault:
    """The fault at `loc` of `service`."""
    what = f"{listener.role} {listener.port}/{listener.protocol} of {service.key}"
    message = f"{what} cannot be opened on {listener.place}: "
    match problem.number:
        case errno.EADDRINUSE:
            code = "port_held"
            message += f"{problem.holder or 'another process'} has it"
            hint = f"stop that program, or choose another port; {_AGAIN}"
        case errno.EACCES | errno.EPERM:
            code = "port_forbidden"
            message += "this needs root or CAP_NET_BIND_SERVICE"
            hint = "choose a port from 1024, or set the sysctl net.ipv4.ip_unprivileged_port_start"
        case _:
            code = "port_unavailable"
            message += os.strerror(problem.number)
            hint = _AGAIN
    return service.fault(Severity.ERROR, code, message, hint, loc)
