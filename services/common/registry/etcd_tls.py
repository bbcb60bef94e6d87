"""How etcd is spoken to: in the clear, or with the certificates that the settings name.

Does not know: what is asked of etcd.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from services.common.settings.security import SecuritySettings


@dataclass(frozen=True, slots=True)
class EtcdTls:
    """Files in PEM: the authority of etcd's certificates, and what is shown to etcd, if it asks."""

    ca_file: Path
    cert_file: Path | None = None
    key_file: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError if a file cannot be read."""
        key = self.key_file.read_bytes() if self.key_file else None
        certificate = self.cert_file.read_bytes() if self.cert_file else None
        return grpc.ssl_channel_credentials(self.ca_file.read_bytes(), key, certificate)


def etcd_tls_of(settings: SecuritySettings) -> EtcdTls | None:
    """What the settings say; None: in the clear."""
    if settings.etcd_tls_ca_file is None:
        return None
    return EtcdTls(settings.etcd_tls_ca_file, settings.etcd_tls_certificate_file, settings.etcd_tls_key_file)
