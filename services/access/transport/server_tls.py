"""TLS of the listeners, with a certificate that is renewed while they listen.

A context that serves is never loaded again: when a pair does not fit, OpenSSL has the new certificate already and no
handshake succeeds any more; and a certificate of another kind of key is put beside the old one, which clients that take
both go on getting, also when it has run out. So a renewal is a new context. The listeners keep the first one, whose
handshakes are handed to the present one before the certificate is chosen (`sni_callback`, which is called for clients
that name no host too).

Guarantees: a renewal that raises has changed nothing; connections that are open, and sessions that are resumed, go on.

Does not know: when files change (common/certificates.py).
"""

from __future__ import annotations

import ssl
from pathlib import Path


class ServerTls:
    """`context` is what listeners are given."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Raises OSError, ValueError if the files cannot be used."""
        self._certificate, self._key = certificate, key
        self.context = self._present = self._load()
        self.context.sni_callback = self._hand_over

    async def renew(self) -> None:
        """What the files hold now, for every handshake to come. Raises OSError, ValueError; then nothing changes."""
        self._present = self._load()

    def _hand_over(self, handshake: ssl.SSLSocket | ssl.SSLObject, _host: str | None, _: ssl.SSLContext) -> None:
        handshake.context = self._present

    def _load(self) -> ssl.SSLContext:
        """TLS 1.2 or later."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key)
        except ssl.SSLError as error:
            raise ValueError(
                f"{self._certificate} and {self._key} are not a certificate chain and its private key in PEM "
                f"({error.reason}): give files that belong together"
            ) from None
        return context
