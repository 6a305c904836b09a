"""What the clients' own output is read as."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.clients import h2load, websocket, wrk
from bench.clients.sample import ClientError, percentile, sample_of

WRK_OUTPUT = """\
Running 1s test @ http://localhost:8080/x
  1 threads and 64 connections
BENCH {"requests":22341,"us":1005217,"p50":1432.0,"p99":41230.0,"p999":66667.0,"connect":0,"read":7,"write":0,\
"timeout":0,"status":2}
"""

H2LOAD_OUTPUT = """\
finished in 1.00s, 3.00 req/s, 1.85MB/s
requests: 6 total, 6 started, 5 done, 4 succeeded, 1 failed, 1 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 1 4xx, 0 5xx
"""
H2LOAD_LOG = (
    "100\t200\t1000\t1\t1\n101\t200\t3000\t1\t1\n102\t404\t9000\t1\t1\n103\t200\t2000\t1\t1\n104\t200\t4000\t1\t1\n"
)


def test_the_line_that_wrk_prints_at_its_end_is_a_sample() -> None:
    sample = wrk.parse(WRK_OUTPUT)
    assert (sample.requests, sample.seconds) == (22341, 1.005217)
    assert (sample.p50_us, sample.p99_us, sample.p999_us) == (1432.0, 41230.0, 66667.0)
    assert (sample.errors, sample.error_note) == (9, "7 read, 2 status")


def test_wrk_without_that_line_is_an_error_that_says_what_it_said() -> None:
    with pytest.raises(ClientError, match="unable to connect"):
        wrk.parse("unable to connect to localhost:1 Connection refused\n")


def test_a_script_has_the_method_the_body_and_each_header() -> None:
    text = wrk.script(wrk.Ask("/sink", headers={"Cookie": 'a="b"'}, method="POST", body_bytes=65536), None)
    assert 'wrk.method = "POST"' in text
    assert "string.rep('x', 65536)" in text
    assert 'wrk.headers["Cookie"] = "a=\\"b\\""' in text


def test_a_script_for_many_urls_reads_them_from_their_file() -> None:
    text = wrk.script(wrk.Ask(urls=[("h0.bench.test", "/x")]), Path("urls"))
    assert 'io.lines("urls")' in text
    assert "request = function()" in text


def test_h2loads_log_gives_the_times_and_its_summary_the_errors() -> None:
    sample = h2load.parse(H2LOAD_OUTPUT, H2LOAD_LOG, 1.0)
    assert (sample.requests, sample.errors) == (4, 2)
    assert (sample.p50_us, sample.p99_us) == (2000.0, 4000.0)


def test_h2load_without_a_summary_is_an_error() -> None:
    with pytest.raises(ClientError, match="Could not connect"):
        h2load.parse("Could not connect\n", "", 1.0)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 1001)]
    assert [percentile(values, share) for share in (50, 99, 99.9, 100)] == [500.0, 990.0, 999.0, 1000.0]
    assert percentile([], 99) == 0.0
    assert percentile([7.0], 0.1) == 7.0


def test_a_sample_of_times_is_in_microseconds() -> None:
    sample = sample_of([0.003, 0.001, 0.002], 1.5, errors=1, error_note="one")
    assert (sample.requests, sample.p50_us, sample.p99_us) == (3, 2000.0, 3000.0)


def test_the_websocket_frame_unmasks_to_its_payload() -> None:
    frame = websocket.frame()
    assert frame[0] == 0x82
    assert frame[1] == 0x80 | websocket.MESSAGE_BYTES
    mask, payload = frame[2:6], frame[6:]
    assert bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) == b"x" * websocket.MESSAGE_BYTES
