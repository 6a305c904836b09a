"""Upload: one large body after another over one keep-alive connection, whole ones only.

In: a port and a size. Out: a Sample. wrk would count an upload that its end cut off as none, after the proxy paid.
"""

from __future__ import annotations

import http.client
import time

from bench.clients.sample import Sample, sample_of
from bench.process import ADDRESS

ANSWER_S = 60.0
PIECE_BYTES = 1024 * 1024


def upload(port: int, host: str, path: str, body_bytes: int, seconds: float) -> Sample:
    """Send bodies until `seconds` have passed; the last one is finished."""
    piece = b"x" * PIECE_BYTES
    times_s: list[float] = []
    errors, note = 0, ""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=ANSWER_S)
    started_at = time.perf_counter()
    try:
        while not times_s or time.perf_counter() - started_at < seconds:
            began_at = time.perf_counter()
            try:
                connection.putrequest("POST", path, skip_host=True)
                connection.putheader("Host", host)
                connection.putheader("Content-Length", str(body_bytes))
                connection.endheaders()
                for _ in range(body_bytes // PIECE_BYTES):
                    connection.send(piece)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    raise http.client.HTTPException(f"status {response.status}")
            except (OSError, http.client.HTTPException) as problem:
                errors, note = errors + 1, repr(problem)
                connection.close()
                if time.perf_counter() - started_at > seconds:
                    break
            else:
                times_s.append(time.perf_counter() - began_at)
    finally:
        connection.close()
    return sample_of(times_s, time.perf_counter() - started_at, errors, note)
