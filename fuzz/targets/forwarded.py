"""Forwarding: whatever is claimed, the fields for the upstream are well formed, and a client cannot choose its address.

In: a byte of choices, then lines `Name: value` with any bytes but NUL, CR and LF, which a trusted proxy passes on.
"""

from __future__ import annotations

import ipaddress

from ingressd.errors import LocalReply
from ingressd.http.field_rules import valid_name, valid_value
from ingressd.http.fields import RequestFields, request_fields
from ingressd.http.forwarded import ForwardedBlock, Origin, TrustedProxies

WORDS = (
    b"X-Forwarded-For: 192.0.2.1, 10.0.0.2\n", b"Forwarded: for=192.0.2.1;proto=https\n", b'for="[2001:db8::1]:80"',
    b"X-Forwarded-Proto: https\n", b"X-Forwarded-Host: a:80\n", b"X-Forwarded-Port: 443\n", b"X-Request-ID: abc\n",
    b"X-Real-IP: a\n", b"host=a", b'"', b"\\", b", ", b";", b"for=", b"unknown", b"10.0.0.9", b"::ffff:10.0.0.1", b"%1",
    b"_hidden", b"by=", b"proto=http", b"Forwarded: ", b"X-Forwarded-For: ", b"ssl-client-verify: SUCCESS\n", b"[::1]",
)  # fmt: skip

_PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8"])
_TRUSTED_PEER, _OTHER_PEER = "10.0.0.1", "198.51.100.7"
_CLIENTS = ("203.0.113.9", "2001:db8::9")
"""Addresses as a trusted proxy sees them; no input has them but by chance, and then they are not wrong."""


def check(data: bytes) -> None:
    choices, text = (data[0], data[1:]) if data else (0, b"")
    lines = [line for line in text.translate(None, b"\0\r").split(b"\n") if b":" in line]
    said = _fields(lines)
    if said is None:
        return
    peer = _TRUSTED_PEER if choices & 1 else _OTHER_PEER
    scheme = "https" if choices & 2 else "http"
    host = b"a:8080" if choices & 4 else b""
    block = ForwardedBlock(_PROXIES, peer, scheme, 443, forwarded=bool(choices & 8))
    origin = _sound(block, said, host, peer)
    assert _sound(block, said, host, peer) == origin, "remembered as something else"
    again = ForwardedBlock(_PROXIES, peer, scheme, 443, forwarded=bool(choices & 8))
    assert again.origin(said) == origin
    assert again.render(said, host, "id") == block.render(said, host, "id")
    if peer == _OTHER_PEER:
        assert origin == Origin(peer, scheme), "an untrusted peer is believed"
    _cannot_choose(said)


def _fields(lines: list[bytes]) -> RequestFields | None:
    try:
        return request_fields(lines, 1)
    except LocalReply:
        return None


def _sound(block: ForwardedBlock, said: RequestFields, host: bytes, peer: str) -> Origin:
    """The origin; what is rendered is lines that a strict reader takes."""
    origin = block.origin(said)
    ipaddress.ip_address(origin.address)
    assert origin.scheme in {"http", "https"}
    request_id = block.request_id(said)
    rendered = block.render(said, host, request_id)
    assert rendered.endswith(b"\r\n")
    values: dict[bytes, bytes] = {}
    for line in rendered[:-2].split(b"\r\n"):
        name, _, value = line.partition(b": ")
        assert valid_name(name), line
        # What a trusted proxy says passes as it is, control characters and all that the codec lets through.
        assert valid_value(value) or value in (said.claims or {}).values() or b"forwarded" in name.lower(), line
        assert name.lower() not in values, name
        values[name.lower()] = value
    assert values[b"x-request-id"] == request_id.encode()
    assert values[b"x-real-ip"] == origin.address.encode()
    assert values[b"x-forwarded-for"].endswith(peer.encode())
    assert values[b"x-forwarded-proto"] == origin.scheme.encode()
    assert 0 < int(values[b"x-forwarded-port"]) < 65536
    return origin


def _cannot_choose(said: RequestFields) -> None:
    """A trusted proxy appends the client it saw to whatever the client claims: none of that becomes the address."""
    for client in _CLIENTS:
        node = f'"[{client}]"' if ":" in client else client
        for name, seen in ((b"x-forwarded-for", client), (b"forwarded", f'for={node};host="a:8080"')):
            claimed = (said.claims or {}).get(name)
            if claimed is None:
                continue
            passed_on = RequestFields()
            passed_on.claims = {name: b"%b, %b" % (claimed, seen.encode())}
            origin = ForwardedBlock(_PROXIES, _TRUSTED_PEER, "http", 80).origin(passed_on)
            assert origin.address in {client, _TRUSTED_PEER}, (passed_on.claims, origin)
