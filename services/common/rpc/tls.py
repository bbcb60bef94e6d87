"""Certificates for calls between nodes: each side shows its own and asks for the other's (mutual TLS).

    tls = tls_of(settings)
    serve(listen, services, tls=tls), Peers(tls=tls)

Guarantees: with a `ca_file`, a server talks only to clients whose certificate that authority has signed. After
`renew` every new connection, in both directions, has what the files hold then; those that are open go on.
Does not know: where the files come from, when they change (common/certificates.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from services.common.certificates import check_pair
from services.common.settings.security import SecuritySettings


@dataclass(slots=True, eq=False)
class Tls:
    """Files in PEM. `server_name`: what certificates of nodes are issued for, if not for their addresses."""

    cert_file: Path
    key_file: Path
    ca_file: Path
    server_name: str = ""
    _served: grpc.ServerCertificateConfiguration | None = field(default=None, repr=False)
    _channels: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def server_credentials(self) -> grpc.ServerCredentials:
        """Raises OSError if a file cannot be read."""
        self._served = served = self._configuration()
        # gRPC asks at each handshake, in a thread of its own.
        return grpc.dynamic_ssl_server_credentials(
            served, lambda: self._served or served, require_client_authentication=True
        )

    def when_renewed(self, channels: Callable[[], None]) -> None:
        """Called after each `renew`, by who makes channels."""
        self._channels.append(channels)

    async def renew(self) -> None:
        """What the files hold now, from the next connection on. Raises OSError, ValueError; then nothing changes."""
        check_pair(self.cert_file, self.key_file, self.ca_file)
        self._served = self._configuration()
        for channels in self._channels:
            channels()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], self.ca_file.read_bytes())

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError if a file cannot be read."""
        return grpc.ssl_channel_credentials(
            self.ca_file.read_bytes(), self.key_file.read_bytes(), self.cert_file.read_bytes()
        )


def tls_of(settings: SecuritySettings) -> Tls | None:
    """What the settings say; None: calls between nodes go in the clear."""
    files = settings.rpc_tls_certificate_file, settings.rpc_tls_key_file, settings.rpc_tls_ca_file
    if files[0] is None or files[1] is None or files[2] is None:
        return None
    return Tls(files[0], files[1], files[2], settings.rpc_tls_server_name)
