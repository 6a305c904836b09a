"""Targets: one canonical path for all spellings, and a refusal for what is ambiguous."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply, Reason
from ingressd.http.target import canonicalise, split_absolute

T = TypeVar("T")
UNRESERVED = string.ascii_letters + string.digits + "-._~"
PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))


def refused(target: str) -> LocalReply:
    with pytest.raises(LocalReply) as caught:
        canonicalise(target)
    return caught.value


def answer_of(function: Callable[[str], T], target: str) -> T | LocalReply:
    try:
        return function(target)
    except LocalReply as reply:
        return reply


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/A/b", "/A/b"),
        ("/%61%2D%2e%5F%7E", "/a-._~"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%252fb", "/a%252fb"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%0d%0a", "/%0D%0A"),
        ("/%20+%2b", "/%20+%2B"),
        ("/a%5cb", "/a%5Cb"),
        ("/a\\b", "/a\\b"),
        ("/a\\..\\b", "/a\\..\\b"),
        ("/a;b=c", "/a;b=c"),
        ("/a;/../b", "/b"),
        ("/a..;/b", "/a..;/b"),
        ("//", "/"),
        ("///a////b//", "/a/b/"),
        ("//host/a", "/host/a"),
        ("/.", "/"),
        ("/./", "/"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../c", "/a/c"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a/..//b", "/b"),
        ("/a//b/../c", "/a/c"),
        ("/a/..%2fb", "/a/..%2Fb"),
        ("/...", "/..."),
        ("/a/.../b", "/a/.../b"),
        ("/.well-known/acme-challenge/x", "/.well-known/acme-challenge/x"),
        ("/..a/.b", "/..a/.b"),
        ("/@host", "/@host"),
        ("/:80/x", "/:80/x"),
        ("/{id}|^`<>\"'", "/{id}|^`<>\"'"),
    ],
)
def test_a_path_has_one_canonical_form(target: str, path: str) -> None:
    assert canonicalise(target) == (path, "")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "a",
        "@host/",
        ":80/x",
        "?a",
        "http://host/",
        "\\a",
        "/%",
        "/%4",
        "/%zz",
        "/%4g",
        "/%+1",
        "/% 1",
        "/%0x41",
        "/%00",
        "/a%00b",
        "/a b",
        "/a\tb",
        "/a\r\nb",
        "/a\x00b",
        "/a\x1fb",
        "/a\x7fb",
        "/a\x85b",
        "/a\xa0b",
        "/é",
        "/\udce9",
        "/%\u0664\u0661",
        "/a#b",
        "/a?b#c",
        "/a?b c",
        "/a?\x00",
        "/a?\x7f",
        "/a?é",
        "/..",
        "/../a",
        "/a/../..",
        "/a/../../b",
        "/%2e%2e/a",
        "/.%2E",
        "//../a",
        "/./../a",
        "/a//..",
        "/a//../b",
        "/a/b//../../c",
        "/a/%2e//%2E./b",
    ],
)
def test_what_is_ambiguous_is_refused(target: str) -> None:
    reply = refused(target)
    assert (reply.status, reply.reason, reply.close) == (400, Reason.BAD_REQUEST, True)
    assert not target or len(target) < 3 or target not in reply.detail


@pytest.mark.parametrize(
    "query", ["?", "?a=b", "?a=%zz&b=%00", "?q=100%", "?//..//.", "?a?b", "?%2F%41;+", "?a=/../b", '?<">\\^`{|}']
)
def test_the_query_is_kept_as_sent(query: str) -> None:
    assert canonicalise("/a/../b" + query) == ("/b", query)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("http://a.example", ("http", "a.example", "/")),
        ("http://a.example/", ("http", "a.example", "/")),
        ("HTTPS://A.example:8443/x?y", ("https", "A.example:8443", "/x?y")),
        ("http://a.example?y", ("http", "a.example", "/?y")),
        ("http://[::1]:80/x", ("http", "[::1]:80", "/x")),
        ("http://a.example/@b", ("http", "a.example", "/@b")),
        ("http://a.example//b//", ("http", "a.example", "//b//")),
        ("http://a.example/?u=http://b@c/", ("http", "a.example", "/?u=http://b@c/")),
    ],
)
def test_absolute_form_is_split_into_scheme_authority_and_origin_form(target: str, parts: tuple[str, str, str]) -> None:
    assert split_absolute(target) == parts


@pytest.mark.parametrize(
    "target",
    [
        "",
        "a",
        "a.example:80",
        "//a.example/",
        "ftp://a.example/",
        "http:/a.example/",
        "http://",
        "http:///x",
        "http://?x",
        "http://user@a.example/",
        "http://user:secret@a.example/",
        "http://@a.example/",
        "http://a.example\\@b.example/",
        "http://a.example\\b/",
        "http://é.example/",
        "http://a.example/\udce9",
        " http://a.example/",
        "httpſ://a.example/",
    ],
)
def test_other_forms_and_userinfo_are_refused(target: str) -> None:
    with pytest.raises(LocalReply) as caught:
        split_absolute(target)
    assert (caught.value.status, caught.value.reason) == (400, Reason.BAD_REQUEST)


def test_a_fragment_behind_a_bare_authority_reaches_canonicalise() -> None:
    refused(split_absolute("http://a.example#f")[2])


def text_of(*parts: str, min_size: int = 0) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(parts), min_size=min_size, max_size=20).map("".join)


segments = text_of(*UNRESERVED, "!", "$", ";", "=", "@", "\\", "%2F", "%5C", "%C3", min_size=1)
paths = st.lists(segments.filter(lambda segment: segment not in {".", ".."}), min_size=1).map(
    lambda parts: "/" + "/".join(parts)
)
anything = text_of(*PRINTABLE, *"//////....??", "%2e", "%2e", "%2f", "%41", "%00", "%", " ", "é", "\n")


@given(paths)
def test_a_canonical_path_is_its_own_canonical_form(path: str) -> None:
    assert canonicalise(path) == (path, "")


@given(paths, st.data())
def test_all_spellings_of_a_path_have_the_same_canonical_form(path: str, data: st.DataObject) -> None:
    spelled = ""
    position = 0
    while position < len(path):
        character = path[position]
        if character == "%":
            escape = path[position : position + 3]
            spelled += data.draw(st.sampled_from([escape.lower(), escape]))
            position += 3
            continue
        position += 1
        if character == "/":
            spelled += data.draw(st.sampled_from(["/", "//", "/./", "/%2e/", "/x/../", "/y/..//"]))
        elif character in UNRESERVED:
            spelled += data.draw(st.sampled_from([character, f"%{ord(character):02x}", f"%{ord(character):02X}"]))
        else:
            spelled += character
    assert canonicalise(spelled) == (path, "")


@given(anything.map(lambda text: "/" + text) | anything | st.text())
def test_any_text_gives_a_canonical_path_or_a_local_reply(target: str) -> None:
    answer = answer_of(canonicalise, target)
    if isinstance(answer, LocalReply):
        assert answer.status == 400
        return
    path, query = answer
    assert path.startswith("/")
    assert (path + query).isascii()
    assert (path + query).isprintable()
    assert not any(bad in path for bad in ("//", "/./", "/../", "?", "#", " "))
    assert not path.endswith(("/.", "/.."))
    assert canonicalise(path + query) == (path, query)


@given(anything.map(lambda text: "/" + text))
def test_reserved_octets_are_never_decoded(target: str) -> None:
    answer = answer_of(canonicalise, target)
    if isinstance(answer, LocalReply):
        return
    path = answer[0]
    sent = target.partition("?")[0]
    for character in "!$&'()*+,;=:@\\":
        assert path.count(character) <= sent.count(character)
    assert path.count("/") <= sent.count("/")


@given(st.text() | anything.map(lambda text: "http://" + text))
def test_any_text_is_split_or_answered_with_a_local_reply(target: str) -> None:
    answer = answer_of(split_absolute, target)
    if isinstance(answer, LocalReply):
        assert answer.status == 400
        return
    scheme, authority, rest = answer
    assert scheme in {"http", "https"}
    assert authority
    assert authority.isascii()
    assert not set("@/\\?#") & set(authority)
    assert rest.startswith("/")
