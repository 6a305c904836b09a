"""The certificates that do not come from manifests: the operator's files, and the one that is made here.

In: settings. Out: what compile is given of them. Files are read anew each time; the self-made one stays the same for as
long as it lasts.
"""

from __future__ import annotations

from datetime import datetime

from ingressd.compile.options import Certificates, PemPair
from ingressd.settings import OFF, Settings
from ingressd.sources.certificate_files import open_to, read_pair
from ingressd.sources.issuer import self_made
from ingressd.table.certificate import Certificate

_RENEW_S = 30 * 86_400
"""Before the end of the self-made certificate."""


class CertificateReader:
    """Reads and makes certificates for one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._self_made: Certificate | None = None

    def read(self, now: datetime) -> Certificates:
        """What there is now. Reads files: not for an event loop."""
        settings = self._settings
        default = settings.default_certificate
        return Certificates(
            pairs=tuple(_pair(*files) for files in settings.certificates),
            default=None if default is None else _pair(*default),
            self_made=None if settings.https_port == OFF else self._own(now),
        )

    def _own(self, now: datetime) -> Certificate:
        own = self._self_made
        # Of the future: it was made while the clock was wrong.
        if own is None or not own.not_before <= now.timestamp() < own.not_after - _RENEW_S:
            own = self._self_made = self_made(now)
        return own


def _pair(chain_file: str, key_file: str) -> PemPair:
    return PemPair(chain_file, key_file, *read_pair(chain_file, key_file), open_to(key_file))
