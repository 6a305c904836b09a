"""Host and port as a request names them (RFC 3986 section 3.2.2, RFC 9110 section 7.2).

In: the bytes of a Host field or of an absolute target's authority. Out: the host that routes are matched by.
No percent-decoding, no Unicode: what is not ASCII is refused.
"""

from __future__ import annotations

import ipaddress
import re

from ingressd.errors import LocalReply, Reason
from ingressd.memo import remember

_AUTHORITY = re.compile(
    rb"((?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+"  # reg-name, which takes in IPv4
    rb"|\[[0-9A-Fa-f:.]++\])"  # IPv6; ipaddress has the last word
    rb"(?::([0-9]{0,5}))?"
)

_PLAIN = re.compile(rb"([A-Za-z0-9\-]++(?:\.[A-Za-z0-9\-]++)*)(?::[1-9][0-9]{0,3})?").fullmatch

_IN_HOSTS = b"abcdefghijklmnopqrstuvwxyz0123456789-."
_DOT = 0x2E

# Clients choose what they send: only short valid ones are remembered.
_REMEMBERED = 4096
_REMEMBERED_BYTES = 255
_hosts: dict[bytes, str] = {}
_plain: dict[bytes, tuple[str, str]] = {}


def canonical_host(raw: bytes) -> str:
    """The host in lower case, without port and without one trailing dot; IPv6 keeps its brackets.

    Raises LocalReply (400) when `raw` is empty or no authority.
    """
    host = _hosts.get(raw)
    if host is not None:
        return host
    name, _ = split_port(raw)
    host = name.decode("ascii").lower().removesuffix(".")
    if not host:
        raise _bad_authority()
    return remember(_hosts, raw, host, _REMEMBERED) if len(raw) <= _REMEMBERED_BYTES else host


def plain_authority(raw: bytes) -> tuple[str, str] | None:
    """The text and the `canonical_host` of what nearly all clients send, a name and perhaps a port; else None."""
    if raw and not raw.translate(None, _IN_HOSTS) and raw[-1] != _DOT:
        # Nothing is looked up: with fifty thousand hosts, a memory of them would be slower.
        host = raw.decode("ascii")
        return host, host
    known = _plain.get(raw)
    if known is None and (match := _PLAIN(raw)) is not None and len(raw) <= _REMEMBERED_BYTES:
        known = remember(_plain, raw, (raw.decode("ascii"), match[1].decode("ascii").lower()), _REMEMBERED)
    return known


def split_port(authority: bytes) -> tuple[bytes, int | None]:
    """Host as sent (IPv6 in its brackets) and port; no port or an empty one is None.

    Raises LocalReply (400) when it is no authority, has userinfo, or the port is not from 1 to 65535.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _bad_authority()
    host, digits = match.groups()
    if host[0] == 0x5B and not _is_ipv6(host[1:-1]):
        raise _bad_authority()
    if not digits:
        return host, None
    port = int(digits)
    if not 1 <= port <= 65535:
        raise _bad_authority()
    return host, port


def _is_ipv6(text: bytes) -> bool:
    try:
        ipaddress.IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True


def _bad_authority() -> LocalReply:
    return LocalReply(400, Reason.BAD_REQUEST, "malformed Host", close=True)
