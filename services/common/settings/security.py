"""The settings that keep others out: certificates for calls between nodes, and what the backends want to see.

They stand apart from the other settings of a node because the `tidings` command has them too: it talks to the nodes and
to etcd with the same certificates.

Guarantees: a file that is named here can be read when the settings are loaded, and certificates come with their keys.
Does not know: whether all of this is enough for production (production.py), and who uses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _readable(path: Path | None) -> Path | None:
    if path is not None:
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ValueError(
                f"the file cannot be read ({error.strerror}): name one that this process may read"
            ) from None
    return path


OptionalFile = Annotated[Path | None, BeforeValidator(_empty_is_none), AfterValidator(_readable)]


class SecuritySettings(BaseSettings):
    """Who may talk to the nodes' inner side, and how the nodes show themselves to the backends."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=False)

    rpc_tls_certificate_file: OptionalFile = Field(
        None,
        description="This node's certificate chain (PEM) for calls between nodes, good for server and client use. With "
        "it and its two companions all such calls are encrypted, and both sides must show a certificate (mutual TLS); "
        "all nodes and the `tidings` command must then have one.",
    )
    rpc_tls_key_file: OptionalFile = Field(
        None, description="Private key (PEM) of that certificate. Nobody else may read the file."
    )
    rpc_tls_ca_file: OptionalFile = Field(
        None,
        description="Authority (PEM) that signs the certificates of all nodes. Whoever has a certificate of it may "
        "call every node, so it should sign nothing else.",
    )
    rpc_tls_server_name: str = Field(
        "",
        description="Name that the certificates of all nodes are issued for; empty: each for its own address. One name "
        "for all is easier where addresses change.",
    )
    etcd_tls_ca_file: OptionalFile = Field(
        None, description="Authority (PEM) of etcd's certificates; set: etcd is spoken to by TLS."
    )
    etcd_tls_certificate_file: OptionalFile = Field(
        None,
        description="Certificate (PEM) that is shown to etcd. Its common name is the user, where etcd has users.",
    )
    etcd_tls_key_file: OptionalFile = Field(None, description="Private key (PEM) of that certificate.")
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext",
        description="How Kafka is spoken to: `ssl` encrypts, `sasl_*` logs in with a name and a password.",
    )
    kafka_tls_ca_file: OptionalFile = Field(
        None, description="Authority (PEM) of Kafka's certificates; unset: those of the system."
    )
    kafka_tls_certificate_file: OptionalFile = Field(
        None, description="Certificate chain (PEM) that is shown to Kafka; for clusters that log in by certificate."
    )
    kafka_tls_key_file: OptionalFile = Field(None, description="Private key (PEM) of that certificate.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How the name and the password are shown to Kafka. PLAIN shows them as they are."
    )
    kafka_sasl_username: str = Field("", description="The name to log in to Kafka with (`sasl_*`).")
    kafka_sasl_password_file: OptionalFile = Field(
        None, description="File with the password for it (its text without the trailing newline)."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A constructor takes only its arguments: who wants the environment says so with `load`."""
        return (init_settings,)

    @model_validator(mode="after")
    def _certificates_are_whole(self) -> Self:
        trio = (self.rpc_tls_certificate_file, self.rpc_tls_key_file, self.rpc_tls_ca_file)
        if any(trio) and not all(trio):
            raise ValueError(
                "rpc_tls_certificate_file, rpc_tls_key_file and rpc_tls_ca_file belong together: set all or none"
            )
        if (self.etcd_tls_certificate_file is None) != (self.etcd_tls_key_file is None):
            raise ValueError("etcd_tls_certificate_file and etcd_tls_key_file belong together: set both or none")
        if self.etcd_tls_certificate_file and not self.etcd_tls_ca_file:
            raise ValueError(
                "etcd_tls_certificate_file needs etcd_tls_ca_file: set it too, without it etcd is not spoken to by TLS"
            )
        if (self.kafka_tls_certificate_file is None) != (self.kafka_tls_key_file is None):
            raise ValueError("kafka_tls_certificate_file and kafka_tls_key_file belong together: set both or none")
        return self

    @model_validator(mode="after")
    def _kafka_is_whole(self) -> Self:
        encrypted = self.kafka_security in {"ssl", "sasl_ssl"}
        if not encrypted and (self.kafka_tls_ca_file or self.kafka_tls_certificate_file):
            raise ValueError(
                "the files kafka_tls_* need kafka_security ssl or sasl_ssl: set one of them, or leave the files out"
            )
        by_name = self.kafka_security.startswith("sasl_")
        if by_name and not (self.kafka_sasl_username and self.kafka_sasl_password_file):
            raise ValueError(
                f"kafka_security {self.kafka_security} needs kafka_sasl_username and kafka_sasl_password_file: set both"
            )
        if not by_name and (self.kafka_sasl_username or self.kafka_sasl_password_file):
            raise ValueError(
                "kafka_sasl_username and its password need kafka_security sasl_ssl (or sasl_plaintext): "
                "set it, or leave both out"
            )
        return self
