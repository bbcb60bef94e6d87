"""etcd of the local stack: one member, its data and its ports; ready when it says that it is healthy."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.common.settings.security import SecuritySettings
from tools.cli.stack.ports import Ports, address
from tools.cli.stack.programs.probing import http_get
from tools.cli.stack.programs.program import NotReadyError, plain_environment


@dataclass(frozen=True, slots=True)
class Etcd:
    program: tuple[str, ...]
    ports: Ports
    data: Path
    inherited: Mapping[str, str]
    name: str = "etcd"
    kind: str = "backend"
    stop_timeout_s: float = 10.0

    @property
    def addresses(self) -> Mapping[str, str]:
        return {"address": address(self.ports.etcd)}

    @property
    def listens(self) -> tuple[int, ...]:
        return self.ports.etcd, self.ports.etcd_peer

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        client, peer = f"http://{address(self.ports.etcd)}", f"http://{address(self.ports.etcd_peer)}"
        return [
            *self.program,
            "--name=local",
            f"--data-dir={self.data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=local={peer}",
            "--heartbeat-interval=50",  # one member: it elects itself, the sooner the better
            "--election-timeout=500",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=10m",
            "--snapshot-count=10000",
            "--logger=zap",
            "--log-level=info",
        ]

    def environment(self) -> Mapping[str, str]:
        return {name: value for name, value in plain_environment(self.inherited).items() if name[:5] != "ETCD_"}

    async def probe(self) -> None:
        await probe_etcd(address(self.ports.etcd))

    def advice(self, last_lines: Sequence[str]) -> str:
        text = "\n".join(last_lines)
        if "no space left" in text:
            return "The disk is full: make room."
        return f"If its data is damaged, remove {self.data} (etcd holds only who is alive, no messages)."


async def probe_etcd(endpoint: str, security: SecuritySettings | None = None) -> None:
    """`security`: of an etcd that the user runs. Raises NotReadyError."""
    tls = _tls(security)
    url = endpoint if "//" in endpoint else f"{'https' if tls else 'http'}://{endpoint}"
    status, text = await http_get(f"{url}/health", tls)
    if status != 200 or '"true"' not in text:
        raise NotReadyError(f"etcd at {endpoint} is not healthy: {text[:200]}")


def _tls(security: SecuritySettings | None) -> ssl.SSLContext | None:
    if security is None or security.etcd_tls_ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=security.etcd_tls_ca_file)
        if security.etcd_tls_certificate_file is not None:
            context.load_cert_chain(security.etcd_tls_certificate_file, security.etcd_tls_key_file)
    except OSError as error:
        raise NotReadyError(f"the certificates for etcd cannot be used: {error}") from error
    return context
