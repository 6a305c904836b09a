"""Credentials: what the admin port demands and what it shows, that is, its token and its certificate.

In: settings, and the files they name. Out: a Token and a TLS context, read again when the files change; StartupError
when the port would be open to strangers or a file is no good. A file that breaks later changes nothing but the log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from typing import NoReturn

from ingressd.admin.token import Token
from ingressd.errors import StartupError
from ingressd.settings import OFF, Settings
from ingressd.sources.certificate_files import open_to, read_pem

_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""As on the HTTPS port: forward secrecy and authenticated encryption only."""

_log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """Say before anything is started what would stop the admin port. Raises StartupError with one line."""
    if settings.admin_port != OFF:
        refuse_strangers(settings, settings.admin_bind)
        Credentials(settings)


def refuse_strangers(settings: Settings, address: str) -> None:
    """Raises StartupError when others can reach `address` and nothing keeps them out."""
    if settings.admin_public or settings.admin_token or settings.admin_token_file or _is_loopback(address):
        return
    raise StartupError(
        f"the admin port would be open to everybody who reaches {address}: give it a token with --admin-token-file FILE"
        " (or INGRESSD_ADMIN_TOKEN), or say --admin-public if something else keeps strangers out"
    )


class Credentials:
    """The token and the certificate as they are now; `token` None: anybody may ask, `context` None: plain HTTP."""

    def __init__(self, settings: Settings) -> None:
        """Reads the files. Raises StartupError."""
        if settings.admin_token and settings.admin_token_file:
            raise StartupError("the admin token is given twice: keep INGRESSD_ADMIN_TOKEN or --admin-token-file")
        self.token = Token(settings.admin_token) if settings.admin_token else None
        self.context: ssl.SSLContext | None = None
        self._token_file = settings.admin_token_file
        self._pair = settings.admin_certificate
        self._interval_s = settings.poll_interval_s
        self._pems: tuple[bytes, bytes] | None = None
        self._told = ""
        try:
            self._read()
        except ValueError as mistake:
            raise StartupError(str(mistake)) from None

    @property
    def changes(self) -> bool:
        """Whether there is any file to follow."""
        return bool(self._token_file or self._pair)

    def warn(self) -> None:
        """Tell of secrets that other users of this machine can read."""
        for path in (self._token_file, *(self._pair or ("", ""))[1:]):
            if path and (mode := open_to(path)):
                _log.warning("%s can be read by other users (mode %04o): chmod 600 %s", path, mode, path)

    async def follow(self) -> NoReturn:
        """Take over what the files say from now on."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await asyncio.to_thread(self._read)
            except ValueError as mistake:
                if self._told != str(mistake):
                    self._told = str(mistake)
                    _log.error("%s; the one before stays in use", mistake)
            else:
                self._told = ""

    def _read(self) -> None:
        """Raises ValueError, in words; what is in a file is never in them."""
        if self._token_file:
            content = _read(self._token_file, "--admin-token-file")
            try:
                token = Token(content.decode("ascii").strip())
            except ValueError as mistake:
                words = "not ASCII text" if isinstance(mistake, UnicodeDecodeError) else str(mistake)
                raise ValueError(f"--admin-token-file: {self._token_file}: {words}") from None
            if token != self.token:
                self._took("token", self.token is not None)
                self.token = token
        if self._pair:
            chain, key = self._pair
            pems = _read(chain, "--admin-certificate"), _read(key, "--admin-certificate")
            if pems != self._pems:
                self.context = _context(chain, key)
                self._took("certificate", self._pems is not None)
                self._pems = pems

    def _took(self, what: str, anew: bool) -> None:
        if anew:
            _log.info("the admin port has a new %s", what)


def _read(path: str, option: str) -> bytes:
    try:
        return read_pem(path)
    except OSError as problem:
        raise ValueError(f"{option}: {path}: {problem.strerror or problem}") from None
    except ValueError as mistake:
        raise ValueError(f"{option}: {path}: {mistake}") from None


def _context(chain: str, key: str) -> ssl.SSLContext:
    """Raises ValueError when OpenSSL does not take the pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password, OpenSSL asks the terminal for that of an encrypted key.
        context.load_cert_chain(chain, key, password="")
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "reason", None) or type(problem).__name__
        raise ValueError(
            f"--admin-certificate: {chain} and {key} cannot be used ({reason}): give a PEM certificate and its key,"
            " without a passphrase"
        ) from None
    return context


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
