"""Certificates that are renewed while a node runs: their files are looked at once a minute, and what is new is used.

    certificates = Certificates()
    certificates.watch("rpc", tls.cert_file, tls.key_file, tls.ca_file, renew=tls.renew)
    life.spawn(certificates.run(), name="certificates")

Guarantees: a renewed file that cannot be used leaves the one before in force, is told once in the log and counted; when
each certificate in force runs out is a metric, renewed or not, from the moment it is watched. Nothing here raises.

Does not know: what a certificate is for, and how it is put to use (`renew`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from services.common.settings.security import SecuritySettings
from services.common.telemetry import logs, metrics

LOOK_S: Final = 60.0

Stamp = tuple[tuple[int, int, int] | None, ...]
# Raises OSError, ValueError (ssl.SSLError is one of the first) if the files cannot be used; then nothing has changed.
Renew = Callable[[], Awaitable[None]]

log = logs.get_logger(__name__)


@dataclass(slots=True)
class _Watched:
    use: str
    files: tuple[Path, ...]
    renew: Renew
    stamp: Stamp = field(default=())

    @property
    def certificate(self) -> Path:
        return self.files[0]


class Certificates:
    """Watches over the certificates of one process."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []

    def watch(self, use: str, certificate: Path, *others: Path | None, renew: Renew) -> None:
        """These files are in use from now on, the certificate first. `use`: the label."""
        files = (certificate, *(other for other in others if other is not None))
        metrics.CERTIFICATE_RENEWALS.labels(use, "renewed")
        metrics.CERTIFICATE_RENEWALS.labels(use, "refused")
        self._watched.append(_Watched(use, files, renew, _stamp(files)))
        _tell_end(use, certificate)

    async def run(self) -> None:
        """Looks once a minute, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Puts to use what has changed since the last look."""
        for each in self._watched:
            stamp = _stamp(each.files)
            if stamp != each.stamp:
                each.stamp = stamp
                await self._renew(each)

    async def _renew(self, each: _Watched) -> None:
        try:
            await each.renew()
        except (OSError, ValueError) as error:
            metrics.CERTIFICATE_RENEWALS.labels(each.use, "refused").inc()
            log.error(  # noqa: TRY400 - the sentence says it
                "a renewed certificate cannot be used, the one before stays",
                use=each.use,
                file=str(each.certificate),
                error=str(error),
            )
            return
        metrics.CERTIFICATE_RENEWALS.labels(each.use, "renewed").inc()
        end = _tell_end(each.use, each.certificate)
        log.info("certificate renewed", use=each.use, until=end.isoformat() if end else "")


def check_pair(certificate: Path, key: Path | None, authority: Path | None = None) -> None:
    """That they belong together. Raises OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if authority is not None:
        context.load_verify_locations(authority)


def end_of(chain: bytes) -> datetime:
    """When the first of a chain's certificates (PEM) runs out. Raises ValueError."""
    return min(certificate.not_valid_after_utc for certificate in x509.load_pem_x509_certificates(chain))


def _tell_end(use: str, file: Path) -> datetime | None:
    try:
        end = end_of(file.read_bytes())
    except (OSError, ValueError) as error:
        log.warning("nobody can tell when a certificate runs out", use=use, file=str(file), error=str(error))
        return None
    metrics.CERTIFICATE_EXPIRY.labels(use).set(end.timestamp())
    if end < datetime.now(UTC):
        log.error("a certificate has run out", use=use, file=str(file), end=end.isoformat())
    return end


def _stamp(files: tuple[Path, ...]) -> Stamp:
    """Changes when a file does; also when a link is put elsewhere, as Kubernetes does it."""
    return tuple(map(_stamp_of, files))


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def watch_inner(
    certificates: Certificates,
    settings: SecuritySettings,
    *,
    rpc: Renew | None,
    etcd: Renew,
    kafka: Renew | None = None,
) -> None:
    """The certificates that a node of these settings shows to other nodes and to the backends."""
    files = settings.rpc_tls_certificate_file, settings.rpc_tls_key_file, settings.rpc_tls_ca_file
    if files[0] is not None and rpc is not None:
        certificates.watch("rpc", files[0], *files[1:], renew=rpc)
    # Without a certificate of one's own: the authority that the other side is checked by.
    etcd_first = settings.etcd_tls_certificate_file or settings.etcd_tls_ca_file
    if etcd_first is not None:
        certificates.watch("etcd", etcd_first, settings.etcd_tls_key_file, settings.etcd_tls_ca_file, renew=etcd)
    kafka_first = settings.kafka_tls_certificate_file or settings.kafka_tls_ca_file
    if kafka_first is not None and kafka is not None:
        certificates.watch("kafka", kafka_first, settings.kafka_tls_key_file, settings.kafka_tls_ca_file, renew=kafka)
