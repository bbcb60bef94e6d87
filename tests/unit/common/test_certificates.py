"""Certificates that are renewed while they are in use: what is noticed, told, and kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.common.bus.kafka.security import KafkaSecurity
from services.common.certificates import Certificates, check_pair, end_of
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.etcd_tls import EtcdTls
from services.common.telemetry import metrics
from tests.support.network.certificates import Authority, Pair


class Use:
    """Puts certificates to use, after the check that everybody makes."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.renewed = 0

    async def renew(self) -> None:
        check_pair(self.pair.certificate, self.pair.key)
        self.renewed += 1


def days_left() -> float:
    value: float = metrics.CERTIFICATE_EXPIRY.labels("rpc")._value.get()
    return (value - datetime.now(UTC).timestamp()) / 86_400


def refused() -> float:
    return float(metrics.CERTIFICATE_RENEWALS.labels("rpc", "refused")._value.get())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


async def test_what_is_renewed_is_put_to_use_and_its_end_is_told(authority: Authority) -> None:
    use = Use(authority.issue("node", days=3))
    certificates = Certificates()
    certificates.watch("rpc", *use.pair, renew=use.renew)
    assert days_left() == pytest.approx(3, abs=0.01)
    await certificates.look()
    assert use.renewed == 0

    authority.issue("node", days=90)
    await certificates.look()
    await certificates.look()
    assert use.renewed == 1
    assert days_left() == pytest.approx(90, abs=0.01)


async def test_what_cannot_be_used_leaves_the_one_before_and_is_told_once(authority: Authority) -> None:
    use = Use(authority.issue("node", days=3))
    certificates = Certificates()
    certificates.watch("rpc", *use.pair, renew=use.renew)
    good, before = use.pair.certificate.read_bytes(), refused()
    for broken in (b"no certificate", authority.issue("other", days=50).certificate.read_bytes()):
        use.pair.certificate.write_bytes(broken)
        with capture_logs() as lines:
            await certificates.look()
            await certificates.look()
        assert [line["event"] for line in lines] == ["a renewed certificate cannot be used, the one before stays"]
        assert days_left() == pytest.approx(3, abs=0.01)
    use.pair.certificate.unlink()
    await certificates.look()
    assert refused() == before + 3
    assert use.renewed == 0
    use.pair.certificate.write_bytes(good)
    await certificates.look()
    assert use.renewed == 1


async def test_a_link_that_is_put_elsewhere_is_a_renewal(authority: Authority, tmp_path: Path) -> None:
    """As Kubernetes puts new secrets into a pod: one link for all files, changed at once."""
    old, new, data = tmp_path / "1", tmp_path / "2", tmp_path / "data"
    for folder in (old, new):
        pair = authority.issue("node")
        folder.mkdir()
        for file, name in zip(pair, ("tls.crt", "tls.key"), strict=True):
            (folder / name).write_bytes(file.read_bytes())
            os.utime(folder / name, (0, 0))
    data.symlink_to(old)
    use = Use(Pair(data / "tls.crt", data / "tls.key"))
    certificates = Certificates()
    certificates.watch("rpc", *use.pair, renew=use.renew)
    (tmp_path / "next").symlink_to(new)
    (tmp_path / "next").replace(data)
    await certificates.look()
    assert use.renewed == 1


def test_a_chain_ends_with_the_first_of_its_certificates(authority: Authority) -> None:
    chain = (
        authority.issue("node", days=9).certificate.read_bytes()
        + authority.issue("between", days=2).certificate.read_bytes()
    )
    assert end_of(chain) - datetime.now(UTC) < timedelta(days=2, hours=1)


async def test_kafkas_clients_get_what_is_renewed_and_keep_what_they_have_if_it_is_broken(authority: Authority) -> None:
    pair = authority.issue("node")
    security = KafkaSecurity("ssl", authority.file, pair.certificate, pair.key)
    options = security.options()
    authority.issue("node", days=60)
    await security.renew(options)
    pair.key.write_bytes(authority.issue("other").key.read_bytes())
    with pytest.raises((OSError, ValueError)):
        await security.renew(options)


async def test_etcd_is_spoken_to_by_new_channels_and_by_the_old_ones_if_it_is_broken(authority: Authority) -> None:
    pair = authority.issue("node")
    async with EtcdClient(["127.0.0.1:1"], tls=EtcdTls(authority.file, pair.certificate, pair.key)) as client:
        before = client._endpoints
        authority.issue("node", days=60)
        await client.renew_certificate()
        renewed = client._endpoints
        assert renewed is not before
        pair.certificate.write_bytes(b"cut off")
        with pytest.raises((OSError, ValueError)):
            await client.renew_certificate()
        assert client._endpoints is renewed
