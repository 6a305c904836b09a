"""Targets and authorities: any text gives a canonical path that a reader of decoded segments agrees with, or 400.

In: any bytes, taken as a target and as an authority.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from ingressd.errors import LocalReply
from ingressd.http import authority
from ingressd.http.target import canonicalise, split_absolute

WORDS = (
    b"/", b"//", b"/.", b"/..", b"/../", b"/./", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"%00", b"%7E", b"%25", b"%zz",
    b"?", b"#", b";", b"\\", b"@", b":", b"[::1]", b"http://", b"https://", b"HTTP://a", b":80", b":65536", b".", b"..",
)  # fmt: skip


def check(data: bytes) -> None:
    text = data.decode("latin-1")
    _canonicalise(text)
    _split_absolute(text)
    _authority(data)


def _canonicalise(text: str) -> None:
    try:
        path, query = canonicalise(text)
    except LocalReply as refused:
        assert refused.status == 400
        return
    before, mark, after = text.partition("?")
    assert query == mark + after
    assert path.startswith("/")
    assert path.isascii()
    assert path.isprintable()
    assert not {"//", "?", "#", " "} & {path[at : at + size] for size in (1, 2) for at in range(len(path))}
    assert not {".", ".."} & set(path.split("/"))
    assert canonicalise(path) == (path, ""), "not its own canonical form"
    assert [unquote_to_bytes(segment) for segment in path.split("/")[1:]] == _segments(before)


def _segments(path: str) -> list[bytes]:
    """The decoded segments, by way of other steps: split first, decode then; an escaped slash splits nothing."""
    parts = [unquote_to_bytes(segment) for segment in path.split("/")[1:]]
    parts = [part for part in parts[:-1] if part] + parts[-1:]
    kept: list[bytes] = []
    for part in parts:
        if part == b"..":
            assert kept, "a path above the root was taken"
            kept.pop()
        elif part != b".":
            kept.append(part)
    if parts[-1] in {b".", b".."}:
        kept.append(b"")
    return kept


def _split_absolute(text: str) -> None:
    try:
        scheme, host, rest = split_absolute(text)
    except LocalReply as refused:
        assert refused.status == 400
        return
    assert scheme in {"http", "https"}
    assert host
    assert not set("/?#@\\") & set(host)
    assert rest.startswith("/")
    assert f"{scheme}://{host}{rest}" in {scheme + text[len(scheme) :], f"{scheme}{text[len(scheme) :]}/"} or (
        f"{scheme}://{host}{rest[1:]}" == scheme + text[len(scheme) :]
    )


def _authority(data: bytes) -> None:
    authority._hosts.clear()
    try:
        host = authority.canonical_host(data)
    except LocalReply as refused:
        assert refused.status == 400
        return
    assert authority.canonical_host(data) == host, "remembered as another host"
    assert host
    assert host.isascii()
    assert host == host.lower()
    assert not set("/?#@\\ \r\n\0") & set(host)
    assert (":" in host) == host.startswith("[") == host.endswith("]")
    name, port = authority.split_port(data)
    assert data in {name, name + b":", b"%b:%b" % (name, data[len(name) + 1 :])}
    assert port is None or (0 < port < 65536 and int(data[len(name) + 1 :]) == port)
