"""The TLS end of the listener: ContextStore, the TLS contexts of all hosts, and TlsAcceptor, which starts TLS.

In: certificates by host, and a listening socket. Out: protocols on encrypted connections. The ClientHello is read
before TLS begins and stays in the socket, so that a connection has its host's context from its first byte: a context
that is switched in ssl's sni_callback keeps the old one's verify_mode, and lets in clients without a certificate.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from ingressd.errors import LocalReply, Reason
from ingressd.http.local_reply import render
from ingressd.listener.alerts import AlertingContext, accepted
from ingressd.listener.client_hello import ClientHello, NeedMore, NotTls, parse
from ingressd.listener.client_tls import TrustingContext
from ingressd.listener.gate import Admission, Gate
from ingressd.listener.in_place_reader import InPlaceReader
from ingressd.listener.introductions import Introductions, readable
from ingressd.listener.plain import AcceptLoop, tune
from ingressd.listener.tls_hosts import TlsHosts
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits, Settings
from ingressd.table.certificate import Certificate
from ingressd.table.client_trust import ClientTrust
from ingressd.table.stream import StreamListener
from ingressd.upstream.memory_file import memory_file

logger = logging.getLogger(__name__)

_CONTEXTS = 2000  # measured: 22 KiB and 0.65 ms each
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # those of TLS 1.3 are all of this kind (RFC 8446 appendix B.4)
_ALPN = ["http/1.1"]

_PEEK_BYTES = 4096  # a browser's ClientHello has up to 2 KiB
_PRESSED_S = 0.05
_LEAST_HANDSHAKE_S = 0.01
_FAREWELL_S = 1.0
_FAREWELL_BYTES = 64 * 1024
_UNRECOGNIZED_NAME = b"\x15\x03\x01\x00\x02\x02\x70"
"""The fatal alert unrecognized_name (RFC 6066 section 3), as one record."""
_INTERNAL_ERROR = b"\x15\x03\x01\x00\x02\x02\x50"
"""The fatal alert internal_error (RFC 8446 section 6.2), for a client that there is no descriptor for."""


class ContextStore:
    """The TLS contexts of all certificates: made when first asked for, the least used forgotten first."""

    def __init__(self, settings: Settings) -> None:
        self._capacity = min(_CONTEXTS, settings.limits.connections)
        self._certificates: Mapping[str, Certificate] = {}
        self._default: Certificate | None = None
        self._contexts: OrderedDict[_Key, ssl.SSLContext | None] = OrderedDict()
        """The least used first; None for a certificate that OpenSSL does not take."""
        self.hosts = TlsHosts()

    def update(self, certificates: Mapping[str, Certificate], default: Certificate | None) -> None:
        """Use these certificates from the next handshake on; connections keep what they have."""
        if certificates is self._certificates and default is self._default:
            return
        self._certificates = certificates
        self._default = default
        if self._contexts:
            used = {_pair(certificate) for certificate in certificates.values()}
            if default is not None:
                used.add(_pair(default))
            for key in [key for key in self._contexts if key[:2] not in used]:
                del self._contexts[key]

    def context_for(self, server_name: str) -> ssl.SSLContext | None:
        """The context of the host, of its wildcard (for one label), or the default one. None: refuse the client."""
        certificate = self._certificates.get(server_name)
        if certificate is None:
            label, _, parent = server_name.partition(".")
            if label and parent:
                certificate = self._certificates.get(f"*.{parent}")
        trust = self.hosts.trust(server_name)
        context = None if certificate is None else self._context(certificate, trust)
        if context is None and self._default is not None:
            context = self._context(self._default, trust)
        return context

    def _context(self, certificate: Certificate, trust: ClientTrust | None) -> ssl.SSLContext | None:
        # A context for each trust: what was proved to one must not open another, not even by a resumed session.
        key = (*_pair(certificate), "" if trust is None else trust.key)
        if key in self._contexts:
            self._contexts.move_to_end(key)
            return self._contexts[key]
        context: ssl.SSLContext | None = None
        try:
            context = _build(certificate, trust)
        except (OSError, ValueError) as problem:
            logger.error(
                "cannot use the certificate of %s for %s: %s (the default certificate is served instead;"
                " mend the chain or the key)",
                certificate.origin,
                ", ".join(certificate.names) or "no host",
                getattr(problem, "reason", None) or type(problem).__name__,
            )
        self._contexts[key] = context
        if len(self._contexts) > self._capacity:
            self._contexts.popitem(last=False)
        return context


_Key = tuple[bytes, bytes, str]
"""Chain and key of the server, and ClientTrust.key; empty = clients are asked for nothing."""


def _pair(certificate: Certificate) -> tuple[bytes, bytes]:
    # Not the fingerprint: a chain can be mended, and a wrong key replaced, under the same leaf.
    return certificate.chain_pem, certificate.key_pem


def _build(certificate: Certificate, trust: ClientTrust | None) -> ssl.SSLContext:
    """A server's context. Raises OSError (ssl.SSLError is one) or ValueError when OpenSSL does not take the pair."""
    context = AlertingContext(ssl.PROTOCOL_TLS_SERVER) if trust is None else TrustingContext.of(trust)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # All ciphers are strong, and the client knows which of them its hardware does.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(_ALPN)
    with memory_file(certificate.chain_pem) as chain, memory_file(certificate.key_pem) as key:
        # Without a password, OpenSSL asks the terminal for that of an encrypted key.
        context.load_cert_chain(chain, key, password="")
    return context


class TlsAcceptor:
    """Accepts connections, and hands each to a protocol once its handshake is done."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        contexts: ContextStore,
        factory: Callable[[str, Admission], asyncio.Protocol],
        limits: Limits,
        gate: Gate,
        stats: WorkerStats,
        introductions: Introductions | None = None,
        carry: Callable[[StreamListener, socket.socket, Admission], None] | None = None,
    ) -> None:
        """`carry` takes connections that are passed on as they are; without it none are."""
        self.empty = asyncio.Event()
        """Set while no handshake is under way."""
        self.empty.set()
        self._loop = loop
        self._contexts = contexts
        self._factory = factory
        self._limits = limits
        self._gate = gate
        self._stats = stats
        self._introductions = introductions
        self._carry = carry
        self._handshakes: set[asyncio.Task[None]] = set()
        self._peeked: set[socket.socket] = set()
        """Sockets that no transport has taken over yet."""
        tune(sock, limits)
        self._accepting = AcceptLoop(loop, sock, self._accepted, lambda: _INTERNAL_ERROR, stats)
        gate.guard(self._accepting)

    def start(self) -> None:
        """Accept from now on."""
        self._accepting.start()

    def stop(self) -> None:
        """Accept no more; handshakes under way may finish, within `tls_handshake_s`."""
        self._accepting.stop()

    def cut(self) -> None:
        """End the handshakes that are under way."""
        for task in tuple(self._handshakes):
            task.cancel()

    def _accepted(self, sock: socket.socket, peer: Any) -> None:
        admission = self._gate.admit(peer)
        if admission is None:
            sock.close()
            return
        self._peeked.add(sock)
        task = self._loop.create_task(self._welcome(sock, admission))
        self._handshakes.add(task)
        self.empty.clear()
        task.add_done_callback(partial(self._done, sock))

    def _done(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        if sock in self._peeked:
            self._peeked.discard(sock)
            sock.close()
        if not self._handshakes:
            self.empty.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            logger.error("a TLS connection was lost", exc_info=problem)

    async def _welcome(self, sock: socket.socket, admission: Admission) -> None:
        """From accept to the end of the handshake. What a client does wrong ends here, and is no error of ours."""
        deadline = self._loop.time() + self._limits.tls_handshake_s
        begun = False
        hello: ClientHello | NotTls | None = None
        try:
            if self._introductions is not None and self._introductions.due(admission):
                introduced = await self._introductions.introduce(sock, admission, deadline)
                if introduced is None:
                    return
                admission = introduced
            async with asyncio.timeout_at(deadline):
                hello = await self._peek(sock)
            if isinstance(hello, NotTls):
                logger.debug("no TLS: %s", hello.why)
                return
            begun = await self._start_tls(sock, hello, deadline, admission)
        except OSError as problem:  # also ssl.SSLError and TimeoutError
            logger.debug("no TLS: %r", problem)
            if self._loop.time() >= deadline:
                self._stats.handshake_timeouts_total += 1
            elif hello is not None:
                self._stats.handshake_failures_total += 1
        finally:
            if not begun:
                admission.end()

    async def _start_tls(self, sock: socket.socket, hello: ClientHello, deadline: float, admission: Admission) -> bool:
        """Whether somebody has the connection now, and with it the admission."""
        passed_on = self._contexts.hosts.passthrough(hello.server_name)
        if passed_on is not None and self._carry is not None:
            # The ClientHello is still in the socket: the endpoint gets it as it came.
            self._peeked.discard(sock)
            self._carry(passed_on, sock, admission)
            return True
        context = self._contexts.context_for(hello.server_name)
        if context is None:
            self._stats.handshake_failures_total += 1
            with suppress(OSError):
                await self._refuse(sock, _UNRECOGNIZED_NAME)
            return False
        protocol = self._factory(hello.server_name, admission)
        self._peeked.discard(sock)
        accepted.set(sock)
        await self._loop.connect_accepted_socket(
            lambda: InPlaceReader(protocol),
            sock,
            ssl=context,
            ssl_handshake_timeout=max(deadline - self._loop.time(), _LEAST_HANDSHAKE_S),
            # It also bounds the sending of what was written before: too short a time would cut a slow client's answer.
            ssl_shutdown_timeout=self._limits.response_write_gap_s,
        )
        return True

    async def _peek(self, sock: socket.socket) -> ClientHello | NotTls:
        """Wait for the whole ClientHello, without taking it off the socket."""
        wanted = 1
        while True:
            try:
                data = sock.recv(max(_PEEK_BYTES, wanted), socket.MSG_PEEK)
            except BlockingIOError:
                await self._readable(sock)
                continue
            if not data:
                return NotTls("closed without a word")
            found = parse(data)
            if not isinstance(found, NeedMore):
                break
            if found.total_bytes > wanted:
                # A client that sends byte by byte wakes us for each record, not for each byte.
                wanted = found.total_bytes
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
                await self._readable(sock)
            elif _finished(sock):
                return NotTls("closed in the middle of the ClientHello")
            else:
                # The kernel runs short of buffers, and wakes us whatever we asked for.
                await asyncio.sleep(_PRESSED_S)
        if wanted > 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        if isinstance(found, NotTls):
            self._stats.handshake_failures_total += 1
            if data[:1].isalpha():
                await self._refuse(sock, _speak_https())
        return found

    async def _readable(self, sock: socket.socket) -> None:
        await readable(self._loop, sock)

    async def _refuse(self, sock: socket.socket, answer: bytes) -> None:
        """Send `answer`, and wait a little for the client to close: a reset must not overtake the answer."""
        async with asyncio.timeout(_FAREWELL_S):
            await self._loop.sock_sendall(sock, answer)
            sock.shutdown(socket.SHUT_WR)
            left = _FAREWELL_BYTES
            while left > 0 and (data := await self._loop.sock_recv(sock, left)):
                left -= len(data)


def _finished(sock: socket.socket) -> bool:
    """Whether the client sends no more; a peek cannot tell, as long as there are bytes to peek at."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def _speak_https() -> bytes:
    """The answer to plain HTTP, as nginx gives it."""
    answer, _ = render(
        LocalReply(400, Reason.BAD_REQUEST, "this port speaks HTTPS", close=True),
        accept=None,
        method="GET",
        keep_alive=False,
        version_10=False,
        request_id="",
        now=time.time(),
    )
    return answer
