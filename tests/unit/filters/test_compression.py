"""Compression: which coding is chosen, which responses stay as they are, and that what comes out is what went in."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.base import Site
from ingressd.filters.compression import CODINGS, SPEC, Compression, chosen, encoder
from ingressd.filters.registry import ANNOTATIONS
from ingressd.proxy.response import OutgoingResponse
from tests.support.asked import asked

SITE = Site("a.test", tls=False, https=False, https_redirect_port=443)
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(),
}


def built(**annotations: str) -> Compression:
    named = {key.replace("_", "-"): value for key, value in {"compression": "true", **annotations}.items()}
    made = SPEC.build({name: ANNOTATIONS[name].parse(text) for name, text in named.items()}, SITE)
    assert isinstance(made, Compression)
    return made


def answered(
    *lines: bytes, status: int = 200, accept: str = "gzip", reason: str = "", made: Compression | None = None
) -> tuple[dict[str, str], bool]:
    response = OutgoingResponse(status, (b"Content-Type: text/html\r\n", *lines), reason, "10.0.0.1:80")
    (made or built()).on_response(asked(headers={"Accept-Encoding": accept} if accept else {}), response)
    return {name.lower(): value for name, value in response.fields.pairs()}, response.encoder is not None


def test_it_is_off_by_default() -> None:
    assert SPEC.build({"compression-min-size": 0}, SITE) is None
    assert ANNOTATIONS["compression"].default == "false"


def test_a_response_that_is_compressed_says_so() -> None:
    fields, encoded = answered(b"Content-Length: 5000\r\n", b'ETag: "x"\r\n', b"Accept-Ranges: bytes\r\n")
    assert encoded
    assert fields == {
        "content-type": "text/html",
        "etag": 'W/"x"',
        "vary": "Accept-Encoding",
        "content-encoding": "gzip",
    }


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Encoding: br\r\n",
        b"Content-Length: 1023\r\n",
        b"Cache-Control: public, no-transform\r\n",
    ],
)
def test_what_is_not_worth_it_or_not_ours_to_change_stays(line: bytes) -> None:
    fields, encoded = answered(line)
    assert not encoded
    assert "vary" not in fields


@pytest.mark.parametrize("status", [204, 206, 304])
def test_what_has_no_whole_body_stays(status: int) -> None:
    assert not answered(status=status)[1]


def test_answers_of_the_proxy_stay() -> None:
    assert not answered(reason="no_route")[1]


@pytest.mark.parametrize(
    ("media", "encoded"),
    [
        ("text/plain; charset=utf-8", True),
        ("TEXT/CSS", True),
        ("application/json", True),
        ("image/svg+xml", True),
        ("image/png", False),
        ("application/octet-stream", False),
        ("text/event-stream", False),
        ("", False),
    ],
)
def test_the_type_decides(media: str, encoded: bool) -> None:
    response = OutgoingResponse(200, [f"Content-Type: {media}\r\n".encode()], "", "")
    built().on_response(asked(headers={"Accept-Encoding": "gzip"}), response)
    assert (response.encoder is not None) is encoded


def test_a_client_that_takes_none_gets_none_and_caches_are_told() -> None:
    fields, encoded = answered(accept="")
    assert not encoded
    assert fields["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, ""),
        ("", ""),
        ("gzip", "gzip"),
        ("gzip, br", "br"),
        ("gzip, br, zstd", "zstd"),
        ("gzip;q=1, br;q=0.5, zstd;q=0.1", "gzip"),
        ("gzip;q=0", ""),
        ("*", "zstd"),
        ("*;q=0, gzip;q=0.1", "gzip"),
        ("identity", ""),
        ("deflate", ""),
        ("GZIP ; Q=0.8", "gzip"),
        ("gzip;q=x", ""),
    ],
)
def test_the_coding_that_the_client_weighs_most_is_chosen(accepted: str | None, coding: str) -> None:
    assert chosen(accepted, CODINGS) == coding


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=st.lists(st.binary(max_size=3000), max_size=8))
def test_what_comes_out_is_what_went_in_and_each_piece_is_there_at_once(coding: str, pieces: Sequence[bytes]) -> None:
    made = encoder(coding)
    sent = b"".join(made.feed(piece) for piece in pieces)
    assert DECODERS[coding](sent + made.finish()) == b"".join(pieces)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_piece_can_be_read_before_the_next_one_comes(coding: str) -> None:
    made = encoder(coding)
    first = made.feed(b"hello")
    if coding == "gzip":
        import zlib

        assert zlib.decompressobj(31).decompress(first) == b"hello"
    elif coding == "br":
        assert brotli.Decompressor().process(first) == b"hello"
    else:
        assert zstandard.ZstdDecompressor().decompressobj().decompress(first) == b"hello"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compression-codings", "deflate"),
        ("compression-codings", ""),
        ("compression-types", "text"),
        ("compression", "on"),
    ],
)
def test_what_is_not_known_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError):
        ANNOTATIONS[name].parse(text)
