"""Real backends that ask for TLS and a certificate or a password: the adapters are let in, others kept out."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from services.common.bus.contract import Record, Topic
from services.common.bus.kafka.bus import KafkaBus
from services.common.bus.kafka.security import KafkaSecurity, kafka_security_of
from services.common.clock import SystemClock
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.etcd_tls import EtcdTls, etcd_tls_of
from services.common.settings.security import SecuritySettings
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema
from tests.support.cluster.backends import clean_environment, free_port_base
from tests.support.network.certificates import Authority
from tidings_protocol.errors import Unavailable
from tools.cli.stack.ports import Ports
from tools.cli.stack.programs import supply as programs
from tools.cli.stack.programs.etcd import Etcd, probe_etcd
from tools.cli.stack.programs.kafka import Kafka, probe_kafka
from tools.cli.stack.programs.program import NotReadyError

pytestmark = pytest.mark.integration

LOCAL = "127.0.0.1"
PASSWORD = "a password of the broker"
READY_S = 90.0
T = TypeVar("T")


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def until(ask: Callable[[], Awaitable[T]], *errors: type[Exception]) -> T:
    """What the action gives as soon as it does not fail."""
    end = time.monotonic() + READY_S
    while True:
        try:
            return await ask()
        except errors:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.2)


async def test_etcd_with_certificates_is_spoken_to_and_keeps_others_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    server, mine = authority.issue("etcd", LOCAL), authority.issue("tidings")
    ports = Ports(free_port_base())
    etcd = Etcd(programs.find(["etcd"], clean_environment()).etcd, ports, tmp_path / "etcd", clean_environment())
    etcd.prepare()
    url, tls = f"http://{LOCAL}:{ports.etcd}", f"https://{LOCAL}:{ports.etcd}"
    command = [
        *(argument.replace(url, tls) for argument in etcd.command()),
        f"--cert-file={server.certificate}", f"--key-file={server.key}", f"--trusted-ca-file={authority.file}",
        "--client-cert-auth",
    ]  # fmt: skip
    settings = SecuritySettings(
        etcd_tls_ca_file=authority.file, etcd_tls_certificate_file=mine.certificate, etcd_tls_key_file=mine.key
    )
    address = f"{LOCAL}:{ports.etcd}"
    with running(command, dict(etcd.environment()), tmp_path / "etcd.log"):
        await until(lambda: probe_etcd(address, settings), NotReadyError)
        async with EtcdClient([address], tls=etcd_tls_of(settings)) as client:
            assert (await client.put_if([], "/tidings/a", "1", 0)).done
            assert await client.read("/tidings/a")
        for stranger in (None, EtcdTls(authority.file)):
            async with EtcdClient([address], tls=stranger) as client:
                with pytest.raises(Unavailable):
                    await client.read("/tidings/a")


async def test_kafka_with_tls_and_a_password_is_spoken_to_and_keeps_others_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    server = authority.issue("kafka", LOCAL)
    found = programs.find(["kafka"], clean_environment())
    ports = Ports(free_port_base())
    kafka = Kafka(found.kafka, found.kafka_storage, ports, tmp_path / "kafka", clean_environment())
    kafka.prepare()
    secure = kafka.properties_file.read_text().replace("PLAINTEXT://", "SASL_SSL://")
    secure = secure.replace("=PLAINTEXT:PLAINTEXT,", "=SASL_SSL:SASL_SSL,")
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    users = f'username="tidings" password="{PASSWORD}" user_tidings="{PASSWORD}"'
    secure += "\n".join(
        [
            "inter.broker.listener.name=SASL_SSL",
            "sasl.enabled.mechanisms=PLAIN",
            "sasl.mechanism.inter.broker.protocol=PLAIN",
            f"listener.name.sasl_ssl.plain.sasl.jaas.config={login} {users};",
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={server.both}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={authority.file}",
            "",
        ]
    )
    kafka.properties_file.write_text(secure)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    settings = SecuritySettings(
        kafka_security="sasl_ssl", kafka_sasl_mechanism="PLAIN", kafka_sasl_username="tidings",
        kafka_tls_ca_file=authority.file, kafka_sasl_password_file=tmp_path / "password",
    )  # fmt: skip
    security = kafka_security_of(settings)
    assert PASSWORD not in repr(security)
    with running(kafka.command(), dict(kafka.environment()), tmp_path / "kafka.log"):
        await until(lambda: probe_kafka(kafka.here, settings), NotReadyError)
        async with KafkaBus([kafka.here], "test", publish_timeout_s=10, security=security) as bus:
            await until(lambda: bus.ensure_topics([Topic("t", 1)]), Unavailable)
            async with bus.consume("t", [0]) as records:
                await until(lambda: bus.publish([Record("t", b"hello", partition=0)]), Unavailable)
                async with asyncio.timeout(30):
                    batch = await anext(aiter(records))
                assert batch[0].value == b"hello"
        wrong = KafkaSecurity("sasl_ssl", authority.file, mechanism="PLAIN", username="tidings", password="wrong")
        async with KafkaBus([kafka.here], "test", publish_timeout_s=3, security=wrong) as bus:
            with pytest.raises(Unavailable) as refused:
                await bus.partitions("t")
            assert "wrong" not in str(refused.value)


async def test_mongodb_with_certificates_is_spoken_to_and_keeps_others_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    server, mine = authority.issue("mongodb", LOCAL), authority.issue("tidings")
    port = Ports(free_port_base()).mongodb
    (tmp_path / "data").mkdir()
    command = [
        *programs.find(["mongodb"], clean_environment()).mongod,
        "--replSet=rs", f"--bind_ip={LOCAL}", f"--port={port}", f"--dbpath={tmp_path / 'data'}", "--nounixsocket",
        "--wiredTigerCacheSizeGB=0.25", "--oplogSize=64", "--tlsMode=requireTLS",
        f"--tlsCertificateKeyFile={server.both}", f"--tlsCAFile={authority.file}",
    ]  # fmt: skip
    bare = f"mongodb://{LOCAL}:{port}/?replicaSet=rs"
    tls = f"{bare}&tls=true&tlsCAFile={authority.file}"
    uri = f"{tls}&tlsCertificateKeyFile={mine.both}"

    def initiate() -> None:
        direct = uri.replace("replicaSet=rs", "directConnection=true")
        with MongoClient[dict[str, object]](direct, serverSelectionTimeoutMS=1000) as client:
            config = {"_id": "rs", "members": [{"_id": 0, "host": f"{LOCAL}:{port}"}]}
            client.admin.command("replSetInitiate", config)

    async def prepare(address: str) -> None:
        async with connected(
            address, "tidings", SystemClock(), timeout_s=2, connections_max=4, name="test"
        ) as connection:
            await ensure_schema(connection)

    with running(command, clean_environment(), tmp_path / "mongod.log"):
        await until(lambda: asyncio.to_thread(initiate), PyMongoError)
        await until(lambda: prepare(uri), Unavailable)
        for stranger in (bare, tls):
            with pytest.raises(Unavailable):
                await prepare(stranger)
