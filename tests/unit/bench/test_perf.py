"""What perf and strace say, read."""

from __future__ import annotations

import pytest

from bench.perf import counts, kinds

REPORT = """\
# Samples: 516  of event 'cpu-clock:ppp'
#
# Overhead;Shared Object                       ;Symbol                                     ;IPC   [IPC Coverage]
 24.50% ;libpython3.11.so.1.0                ;[.] _PyEval_EvalFrameDefault                ;-      -
 4.00%  ;[kernel.kallsyms]                   ;[k] _raw_spin_unlock_irqrestore             ;-      -
 2.25%  ;loop.cpython-311-x86_64-linux-gnu.so;[.] __pyx_f_6uvloop_4loop___uv_stream_on_read
 1.00%  ;libpython3.11.so.1.0                ;[.] PyObject_GetAttr
 0.75%  ;libpython3.11.so.1.0                ;[.] _Py_dict_lookup
 0.50%  ;libpython3.11.so.1.0                ;[.] PyObject_Vectorcall
 0.50%  ;libc.so.6                           ;[.] _int_malloc
 0.25%  ;libpython3.11.so.1.0                ;[.] subtype_dealloc
 0.25%  ;libpython3.11.so.1.0                ;[.] unicode_eq
 0.25%  ;_http_parser.cpython-311.so         ;[.] llhttp__internal_execute
 0.25%  ;[vdso]                              ;[.] __vdso_clock_gettime
 0.25%  ;libc.so.6                           ;[.] read
"""
SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.000200           1       200         8 read
 25.00    0.000100           1       100           epoll_pwait
  0.00    0.000000           0         1           close
------ ----------- ----------- --------- --------- ----------------
100.00    0.000300           1       301         8 total
"""


def test_samples_are_added_up_by_kind_of_function() -> None:
    assert kinds(REPORT) == pytest.approx(
        {
            "interpreter": 25.0,
            "kernel": 4.25,
            "event loop: uvloop": 2.25,
            "attributes and dictionaries": 1.75,
            "objects made and freed": 0.75,
            "strings and bytes": 0.25,
            "HTTP parser of aiohttp": 0.25,
            "the rest": 0.25,
        }
    )
    assert kinds("# Samples: 0\n") == {}


def test_system_calls_are_counted_without_their_sum_and_their_errors() -> None:
    assert counts(SUMMARY) == {"read": 200, "epoll_pwait": 100, "close": 1}
