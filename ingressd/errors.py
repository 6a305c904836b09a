"""The two kinds of trouble: LocalReply, an answer the proxy makes itself, and Fault, a configuration mistake.

A LocalReply is raised or returned on the request path; a Fault is collected, never raised.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why the proxy answered by itself: in the access log, the metrics and `x-ingressd-reason`."""

    REDIRECT = "redirect"
    CORS_PREFLIGHT = "cors_preflight"
    NO_ROUTE = "no_route"
    NO_ENDPOINTS = "no_endpoints"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    UPSTREAM_RESET = "upstream_reset"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    BAD_GATEWAY_RESPONSE = "bad_gateway_response"
    BAD_REQUEST = "bad_request"
    URI_TOO_LONG = "uri_too_long"
    HEADER_TOO_LARGE = "header_too_large"
    BODY_TOO_LARGE = "body_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    METHOD_NOT_IMPLEMENTED = "method_not_implemented"
    CODING_NOT_IMPLEMENTED = "coding_not_implemented"
    VERSION_NOT_SUPPORTED = "version_not_supported"
    EXPECTATION_FAILED = "expectation_failed"
    OPTIONS = "options"
    POLICY_INVALID = "policy_invalid"
    DENIED_IP = "denied_ip"
    AUTH_FAILED = "auth_failed"
    CLIENT_CERTIFICATE_REQUIRED = "client_certificate_required"
    CLIENT_CERTIFICATE_REFUSED = "client_certificate_refused"
    MISDIRECTED = "misdirected"
    AUTH_UNAVAILABLE = "auth_unavailable"
    MAINTENANCE = "maintenance"
    FAULT_INJECTED = "fault_injected"
    PLUGIN = "plugin"
    PLUGIN_ERROR = "plugin_error"
    RATE_LIMITED = "rate_limited"
    CUSTOM_ERROR = "custom_error"
    OVERLOAD = "overload"
    OVERFLOW = "overflow"
    DRAINING = "draining"
    CLIENT_ABORT = "client_abort"
    CLIENT_TOO_SLOW = "client_too_slow"
    IDLE = "idle"
    INTERNAL = "internal"


class LocalReply(Exception):
    """An answer made by the proxy (Envoy's term). `detail` may be shown to the client: never a secret."""

    def __init__(
        self,
        status: int,
        reason: Reason,
        detail: str = "",
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        close: bool = False,
    ) -> None:
        super().__init__(status, reason, detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers
        self.close = close
        """The connection's framing is in doubt: nothing more may be read from it."""


class Severity(StrEnum):
    """How bad a Fault is: `error` costs an object or a host something, `warning` does not, `info` is for learning."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Fault:
    """One configuration mistake, with the place and the way out. `line` and `column` count from 1; 0 = unknown."""

    severity: Severity
    code: str
    kind: str
    namespace: str
    name: str
    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def place(self) -> tuple[str, int, int, str]:
        """What faults are sorted by."""
        return self.file, self.line, self.column, self.code

    def as_dict(self) -> dict[str, str | int]:
        """The JSON shape of /api/v1/faults."""
        return asdict(self)

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: {self.severity}: {self.message} [{self.code}]{hint}"


class StartupError(Exception):
    """The program cannot start; the message is one line for the operator."""
