"""Certificates come whole, and what Kafka wants to see fits to how it is spoken to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.common.settings.security import SecuritySettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("x")
    return path


@pytest.mark.parametrize(
    ("names", "others", "why"),
    [
        (["rpc_tls_certificate_file"], {}, "set all or none"),
        (["rpc_tls_certificate_file", "rpc_tls_key_file"], {}, "set all or none"),
        (["etcd_tls_key_file"], {}, "set both or none"),
        (["etcd_tls_certificate_file", "etcd_tls_key_file"], {}, "needs etcd_tls_ca_file"),
        (["kafka_tls_certificate_file"], {"kafka_security": "ssl"}, "set both or none"),
        (["kafka_tls_ca_file"], {}, "need kafka_security"),
        ([], {"kafka_security": "sasl_ssl"}, "needs kafka_sasl_username"),
        ([], {"kafka_sasl_username": "ann"}, "need kafka_security"),
    ],
)
def test_half_of_it_is_a_mistake(names: list[str], others: dict[str, Any], why: str, file: Path) -> None:
    with pytest.raises(ValidationError, match=why):
        SecuritySettings(**{**dict.fromkeys(names, file), **others})


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        SecuritySettings(etcd_tls_ca_file=tmp_path / "none")


def test_an_empty_name_of_a_file_is_none() -> None:
    assert SecuritySettings(etcd_tls_ca_file="").etcd_tls_ca_file is None
