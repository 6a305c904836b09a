"""Handshakes: TLS handshakes and nothing after them, full or resumed, from a few threads.

In: a port. Out: a Sample. OpenSSL works outside the interpreter's lock, so that threads do overlap.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time

from bench.clients.sample import ClientError, Sample, sample_of
from bench.process import ADDRESS

THREADS = 8
CONNECT_S = 10.0
SERVER_NAME = "localhost"


def client_context() -> ssl.SSLContext:
    """TLS 1.3, no checks: what is measured is the server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def run_handshakes(port: int, host: str, seconds: float, resumed: bool) -> Sample:
    """Handshakes of THREADS threads for `seconds`. Raises ClientError where the server resumes nothing."""
    context = client_context()
    session = _session(context, port, host) if resumed else None
    times_s: list[float] = []
    problems: list[str] = []
    started_at = time.perf_counter()
    end_at = started_at + seconds

    def work() -> None:
        while time.perf_counter() < end_at:
            began_at = time.perf_counter()
            try:
                _handshake(context, port, session)
            except OSError as problem:
                problems.append(repr(problem))
            else:
                times_s.append(time.perf_counter() - began_at)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sample_of(times_s, time.perf_counter() - started_at, len(problems), problems[0] if problems else "")


def _handshake(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> None:
    with socket.create_connection((ADDRESS, port), CONNECT_S) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(tcp, server_hostname=SERVER_NAME, session=session) as secure:
            if session is not None and not secure.session_reused:
                raise ssl.SSLError("the session was not resumed")
            # The half-close lets the server finish, tickets included; its end is the end of the handshake for both.
            secure.shutdown(socket.SHUT_WR)
            while secure.recv(4096):
                pass


def _session(context: ssl.SSLContext, port: int, host: str) -> ssl.SSLSession:
    """A session of one whole exchange: the ticket comes after the handshake and is read with the answer."""
    with (
        socket.create_connection((ADDRESS, port), CONNECT_S) as tcp,
        context.wrap_socket(tcp, server_hostname=SERVER_NAME) as secure,
    ):
        secure.sendall(f"GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        while secure.recv(65536):
            pass
        session = secure.session
    if session is None or not session.has_ticket:
        raise ClientError("the server gives no session ticket")
    return session


def disagreement(port: int, alpn: str) -> str:
    """Why a server does not speak TLS 1.3 (and `alpn` in it, unless empty); empty when it does."""
    context = client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([alpn or "http/1.1"])
    try:
        with (
            socket.create_connection((ADDRESS, port), CONNECT_S) as tcp,
            context.wrap_socket(tcp, server_hostname=SERVER_NAME) as secure,
        ):
            if secure.version() != "TLSv1.3":
                return f"it speaks {secure.version()}, not TLSv1.3"
            if alpn and secure.selected_alpn_protocol() != alpn:
                return f"it does not speak {alpn} over TLS"
    except OSError as problem:
        return f"no TLS handshake: {problem}"
    return ""
