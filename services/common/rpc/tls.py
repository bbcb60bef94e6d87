"""Certificates for calls between nodes: each side shows its own and asks for the other's (mutual TLS).

    tls = tls_of(settings)
    serve(listen, services, tls=tls), Peers(tls=tls)

Guarantees: with a `ca_file`, a server talks only to clients whose certificate that authority has signed.
Does not know: where the files come from. They are read once, when a node starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from services.common.settings_security import SecuritySettings


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM. `server_name`: what certificates of nodes are issued for, if not for their addresses."""

    cert_file: Path
    key_file: Path
    ca_file: Path
    server_name: str = ""

    def server_credentials(self) -> grpc.ServerCredentials:
        """Raises OSError if a file cannot be read."""
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        return grpc.ssl_server_credentials([pair], self.ca_file.read_bytes(), require_client_auth=True)

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
