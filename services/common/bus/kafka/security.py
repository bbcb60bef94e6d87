"""How Kafka is spoken to: in the clear, by TLS, with a login; as the options that every client of aiokafka takes.

Guarantees: the password is in no text of this value. Does not know: who uses it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.common.certificates import check_pair
from services.common.settings.security import SecuritySettings


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """`protocol` as Kafka names it; files in PEM; the mechanism counts with `sasl_*` only."""

    protocol: str = "plaintext"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    def options(self) -> dict[str, Any]:
        """The options of a client's constructor. Raises OSError, ssl.SSLError if a file cannot be used."""
        options: dict[str, Any] = {"security_protocol": self.protocol.upper()}
        if self.protocol in {"ssl", "sasl_ssl"}:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
            options["ssl_context"] = context
        if self.protocol.startswith("sasl_"):
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    async def renew(self, options: Mapping[str, Any]) -> None:
        """What the files hold now, for all clients that were made with these options, from their next connection on.

        Raises OSError, ValueError; then nothing changes.
        """
        context = options["ssl_context"]
        if self.cert_file is not None:
            check_pair(self.cert_file, self.key_file, self.ca_file)
            context.load_cert_chain(self.cert_file, self.key_file)
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)


PLAINTEXT = KafkaSecurity()


def kafka_security_of(settings: SecuritySettings) -> KafkaSecurity:
    """What the settings say. Raises OSError if the password's file cannot be read."""
    file = settings.kafka_sasl_password_file
    return KafkaSecurity(
        protocol=settings.kafka_security,
        ca_file=settings.kafka_tls_ca_file,
        cert_file=settings.kafka_tls_certificate_file,
        key_file=settings.kafka_tls_key_file,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_sasl_username,
        password=file.read_text(encoding="utf-8").rstrip("\r\n") if file else "",
    )
