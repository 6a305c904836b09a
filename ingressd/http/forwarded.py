"""Who the client is, and the fields that tell the upstream: X-Forwarded-*, X-Real-IP, X-Request-ID, Forwarded.

In: the peer's address, the connection's scheme and port, a request's claims. Out: the origin of the request, and
lines ready to send. What an untrusted peer claims is neither believed nor passed on.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from ingressd.errors import LocalReply
from ingressd.http.authority import split_port
from ingressd.http.edited_lines import EditedLines
from ingressd.http.field_rules import line_name
from ingressd.http.fields import RequestFields
from ingressd.memo import remember

_HOPS = 64
"""How many proxies back a client is looked for."""

_HOSTS = 8
"""For how many hosts the lines of one client are kept."""

_ID_BYTES = 16
_IDS = 256
_REMEMBERED = 4096
_REMEMBERED_BYTES = 64
_SCHEMES = {b"http": "http", b"https": "https"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
RENDERED = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-real-ip",
        "x-request-id",
        "x-scheme",
    }
)
"""The names of the lines that are made here."""
_RENDERED_HERE = frozenset(name.encode("ascii") for name in RENDERED)

_well_formed_id = re.compile(rb"[A-Za-z0-9._\-]{1,128}").fullmatch
_port_digits = re.compile(rb"[0-9]{1,5}").fullmatch
_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++").fullmatch
_well_formed_chain = re.compile(
    rb"[\t ,;]*+(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++=(?:"
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*"|[^\t ;,"]++)[\t ]*+(?:[,;][\t ,;]*+|\Z))*',
    re.DOTALL,
).fullmatch
"""Forwarded as a whole, with values that lack their quotes (`for=192.0.2.1:80`)."""
_elements = re.compile(rb'(?:[^",]++|"[^"\\]*+(?:\\.[^"\\]*+)*")+', re.DOTALL).findall
_pairs = re.compile(rb'([A-Za-z]++)=(?:"([^"\\]*+(?:\\.[^"\\]*+)*)"|([^\t ;,"]++))', re.DOTALL).findall


class TrustedProxies:
    """The networks whose word about the client is taken."""

    __slots__ = ("_known", "_networks")

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        """Raises ValueError for what is neither a network nor an address."""
        self._networks = tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
        self._known: dict[bytes, tuple[str, bool]] = {}

    def trusts(self, address: str) -> bool:
        """Whether `address` is a trusted proxy's."""
        return bool(self._networks) and self.hop(address.encode("latin-1", "replace"))[1]

    def hop(self, node: bytes) -> tuple[str, bool]:
        """The address in an entry of X-Forwarded-For or a `for` of Forwarded, and whether it is trusted.

        A port is left out, and an IPv4 address in IPv6 is IPv4. The address is empty when there is none.
        """
        known = self._known.get(node)
        if known is None:
            address = _address(node)
            trusted = address is not None and any(address in network for network in self._networks)
            known = ("" if address is None else str(address), trusted)
            if len(node) <= _REMEMBERED_BYTES:
                remember(self._known, node, known, _REMEMBERED)
        return known


class Origin(NamedTuple):
    """Where a request comes from, as far as the trusted proxies know."""

    address: str
    scheme: str
    """`http` or `https`."""


class _Claims(NamedTuple):
    """What a trusted peer says, as far as it is well formed."""

    hops: tuple[str, ...]
    """Addresses from the client to the proxy before the peer; empty when the peer names none."""
    scheme: str
    host: bytes
    """Empty: not claimed."""
    port: int


class ForwardedBlock:
    """The forwarding fields of one client's connections to one port.

    Everything that stays the same from request to request is formatted once, so that `render` costs little more
    than the request id while there are few hosts.
    """

    __slots__ = (
        "_believed",
        "_latest",
        "_origin",
        "_peer",
        "_port",
        "_proxies",
        "_said",
        "_sends_forwarded",
        "_split",
        "_template",
        "trusted",
    )

    def __init__(self, proxies: TrustedProxies, peer: str, scheme: str, port: int, *, forwarded: bool = True) -> None:
        """`peer`: where the connection comes from; `port`: the local one; `forwarded`: send Forwarded too."""
        address, self.trusted = proxies.hop(peer.encode("latin-1", "replace"))
        self._peer = address or "unknown"
        self._port = port
        self._proxies = proxies
        self._sends_forwarded = forwarded
        self._origin = Origin(self._peer, scheme)
        self._said: dict[bytes, bytes] | None = None
        self._believed: _Claims | None = None
        self._latest: tuple[RequestFields | None, str, bytes] = (None, "", b"")
        """What `whole` gave last, up to the value of X-Request-ID: most clients say the same again."""
        self._template = b""
        """All lines for what this connection shows by itself, with two places for the host."""
        self._split: dict[bytes, tuple[list[bytes], list[str]]] = {}
        """By host: the same lines one by one, without X-Request-ID, and the names of all."""

    def origin(self, fields: RequestFields) -> Origin:
        """The client's address and scheme: the connection's, or what a trusted peer says."""
        if not self.trusted or fields.claims is None:
            return self._origin
        claims = self._believe(fields.claims)
        return Origin(claims.hops[0] if claims.hops else self._peer, claims.scheme)

    def request_id(self, fields: RequestFields) -> str:
        """Of a trusted peer's request: its X-Request-ID when it is well formed; else a new one."""
        if self.trusted and fields.claims is not None:
            claimed = fields.claims.get(b"x-request-id", b"")
            if _well_formed_id(claimed):
                return claimed.decode("ascii")
        return new_request_id()

    def render(self, fields: RequestFields, host: bytes, request_id: str) -> bytes:
        """The lines for the upstream, each with its CRLF. `host`: the valid authority of the request, or empty."""
        if self.trusted and fields.claims is not None:
            return b"%b%b\r\n" % (self._trusted_lines(fields.claims, host), request_id.encode("ascii"))
        return b"%b%b\r\n" % (self._own_lines(host), request_id.encode("ascii"))

    def whole(self, fields: RequestFields, authority: str, request_id: str) -> bytes:
        """All lines for the upstream, those that the client sent before these."""
        latest, of_authority, lines = self._latest
        if latest is fields and of_authority == authority:
            return b"%b%b\r\n" % (lines, request_id.encode("ascii"))
        host = authority.encode("latin-1")
        lines = fields.kept_bytes + self.render(fields, host, request_id)
        if not (self.trusted and fields.claims is not None):
            self._latest = (fields, authority, lines[: -len(request_id) - 2])
        return lines

    def edited(self, fields: RequestFields, host: bytes, request_id: str) -> EditedLines:
        """All lines for the upstream, those that the client sent before these, for filters to change."""
        if self.trusted and fields.claims is not None:
            return EditedLines([*fields.kept, *self.render(fields, host, request_id).splitlines(keepends=True)])
        split = self._split.get(host)
        if split is None:
            lines = self.render(fields, host, request_id).splitlines(keepends=True)
            split = remember(self._split, host, (lines[:-1], [line_name(line) for line in lines]), _HOSTS)
        lines, names = split
        request_id_line = b"X-Request-ID: %b\r\n" % request_id.encode("ascii")
        return EditedLines((*fields.kept, *lines, request_id_line), (*fields.names, *names))

    def _own_lines(self, host: bytes) -> bytes:
        """All lines for what this connection shows by itself, up to the value of X-Request-ID."""
        peer, scheme = self._origin
        if not host:
            forwarded = _element(peer, b"", scheme)
            return self._all_lines(peer.encode("ascii"), peer, b"", self._port, scheme, forwarded)
        if not self._template:
            # A letter is never quoted, and none of the lines has a percent sign of its own.
            forwarded = _element(peer, b"H", scheme).replace(b"host=H", b"host=%b")
            self._template = self._all_lines(peer.encode("ascii"), peer, b"%b", self._port, scheme, forwarded)
        return self._template % ((host, _quoted(host)) if self._sends_forwarded else host)

    def _trusted_lines(self, said: dict[bytes, bytes], host: bytes) -> bytes:
        """All lines for a trusted peer's request: what it says, and behind that the peer itself."""
        claims = self._believe(said)
        peer, scheme = self._origin
        client = claims.hops[0] if claims.hops else peer
        claimed_host = claims.host or host
        chain = said.get(b"x-forwarded-for")
        forwarded = _chain_of_elements(said)
        if chain is not None or not forwarded:
            # RFC 7239 section 7.4. A Forwarded that came beside X-Forwarded-For may be the client's own work.
            elements = [_element(client, claimed_host, claims.scheme)]
            elements += [b"for=" + _node(hop) for hop in claims.hops[1:]]
            if claims.hops:
                elements.append(_element(peer, host, scheme))
        else:
            elements = [forwarded, _element(peer, host, scheme)]
        if chain is None:
            chain = ", ".join(claims.hops).encode("ascii")
        lines = self._all_lines(
            b"%b, %b" % (chain, peer.encode("ascii")) if chain else peer.encode("ascii"),
            client,
            claimed_host,
            claims.port,
            claims.scheme,
            b", ".join(elements),
        )
        return b"".join((*(b"%b: %b\r\n" % item for item in said.items() if item[0] not in _RENDERED_HERE), lines))

    def _all_lines(self, chain: bytes, client: str, host: bytes, port: int, scheme: str, forwarded: bytes) -> bytes:
        protocol = scheme.encode("ascii")
        return b"%bX-Forwarded-For: %b\r\nX-Real-IP: %b\r\n%b%bX-Request-ID: " % (
            b"X-Forwarded-Host: %b\r\n" % host if host else b"",
            chain,
            client.encode("ascii"),
            b"X-Forwarded-Port: %d\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Scheme: %b\r\nX-Scheme: %b\r\n"
            % (port, protocol, protocol, protocol),
            b"Forwarded: %b\r\n" % forwarded if self._sends_forwarded else b"",
        )

    def _believe(self, said: dict[bytes, bytes]) -> _Claims:
        """The claims that are well formed; the connection speaks for the rest.

        The client is found from the nearest proxy backwards, for as long as each one is trusted: what stands
        further left may be anybody's. X-Forwarded-* goes before Forwarded.
        """
        if said is self._said and self._believed is not None:
            return self._believed
        hops, pairs = self._walk(said)
        claimed_scheme = _SCHEMES.get((said.get(b"x-forwarded-proto") or pairs.get(b"proto", b"")).lower())
        scheme = claimed_scheme or self._origin.scheme
        host = said.get(b"x-forwarded-host") or pairs.get(b"host", b"")
        host_port = _authority_port(host)
        if host_port is None:
            host = b""
        digits = said.get(b"x-forwarded-port", b"")
        if _port_digits(digits) and 1 <= int(digits) <= 65535:
            port = int(digits)
        elif claimed_scheme is None:
            port = self._port
        else:
            port = host_port or _DEFAULT_PORTS[scheme]
        self._said = said
        self._believed = claims = _Claims(hops, scheme, host, port)
        return claims

    def _walk(self, said: dict[bytes, bytes]) -> tuple[tuple[str, ...], dict[bytes, bytes]]:
        """The hops from the client on, and what Forwarded says in the client's element."""
        chain = said.get(b"x-forwarded-for")
        if chain is not None:
            entries = [{b"for": entry.strip(b" \t")} for entry in chain.rsplit(b",", _HOPS)[-_HOPS:]]
        else:
            entries = [_element_pairs(element) for element in _elements(_chain_of_elements(said))[-_HOPS:]]
        hops: list[str] = []
        pairs: dict[bytes, bytes] = {}
        for entry in reversed(entries):
            address, trusted = self._proxies.hop(entry.get(b"for", b""))
            if not address:
                break
            hops.append(address)
            pairs = entry
            if not trusted:
                break
        return tuple(reversed(hops)), pairs


def new_request_id() -> str:
    """32 hexadecimal digits. Unique, not secret."""
    if not _ids:
        # Drawn many at a time: one costs 0.1 us, by itself it would cost 0.5.
        digits = os.urandom(_ID_BYTES * _IDS).hex()
        _ids.extend(digits[start : start + 2 * _ID_BYTES] for start in range(0, len(digits), 2 * _ID_BYTES))
    return _ids.pop()


_ids: list[str] = []


def _address(node: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """`192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, with or without a zone; else None."""
    text = node.decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _authority_port(authority: bytes) -> int | None:
    """The port of a well-formed authority, 0 when it names none; None when it is malformed."""
    try:
        return split_port(authority)[1] or 0
    except LocalReply:
        return None


def _chain_of_elements(said: dict[bytes, bytes]) -> bytes:
    """Forwarded, if it is well formed as a whole, else nothing.

    A quote that a client leaves open would swallow the start of what a proxy appends, and with it who the client is.
    """
    forwarded = said.get(b"forwarded", b"")
    return forwarded if _well_formed_chain(forwarded) else b""


def _element_pairs(element: bytes) -> dict[bytes, bytes]:
    """The pairs of one element of Forwarded, names in lower case (RFC 7239 section 4)."""
    return {name.lower(): re.sub(rb"\\(.)", rb"\1", quoted) or plain for name, quoted, plain in _pairs(element)}


def _element(address: str, host: bytes, scheme: str) -> bytes:
    host_pair = b";host=" + _quoted(host) if host else b""
    return b"for=%b%b;proto=%b" % (_node(address), host_pair, scheme.encode("ascii"))


def _node(address: str) -> bytes:
    """RFC 7239 section 6: an IPv6 address is bracketed and quoted."""
    return (f'"[{address}]"' if ":" in address else address).encode("ascii")


def _quoted(value: bytes) -> bytes:
    if _token(value):
        return value
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
