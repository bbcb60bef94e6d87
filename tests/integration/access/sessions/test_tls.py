"""TLS on both transports."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect as connect_websocket
from websockets.typing import Subprotocol

from services.access.transport.server_tls import ServerTls
from tests.support.cluster.access_nodes import AccessCluster
from tests.support.network.certificates import Authority, Pair
from tidings_protocol.client_pb2 import Bye, ClientFrame, Content, Hello, Send, ServerFrame


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


async def test_a_websocket_with_tls_carries_a_session(empty: AccessCluster, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    node = await empty.start("access-0", tls_certificate_file=cert, tls_key_file=key)
    assert node.address.ws.startswith("wss://")
    trusted = ssl.create_default_context(cafile=str(cert))
    url = node.address.ws.replace("127.0.0.1", "localhost")
    protocols = [Subprotocol("tidings.v1.proto")]
    async with connect_websocket(url, subprotocols=protocols, ssl=trusted, proxy=None) as socket:
        await socket.send(ClientFrame(hello=Hello(token=empty.token("ann"), device="d")).SerializeToString())
        assert ServerFrame.FromString(bytes(await socket.recv(decode=False))).welcome.user == "ann"
        content = Content(text="x" * 30_000)
        await socket.send(ClientFrame(send=Send(client_id="1", user="ann", content=content)).SerializeToString())
        assert ServerFrame.FromString(bytes(await socket.recv(decode=False))).sent.seq == 1


async def test_tcp_with_tls_carries_a_session_and_ends_it(empty: AccessCluster, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    node = await empty.start("access-0", tls_certificate_file=cert, tls_key_file=key)
    trusted = ssl.create_default_context(cafile=str(cert))
    port = int(node.address.tcp.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname="localhost")
    for frame in (ClientFrame(hello=Hello(token=empty.token("ann"), device="d")), ClientFrame(bye=Bye())):
        data = frame.SerializeToString()
        writer.write(len(data).to_bytes(4, "big") + data)
    size = int.from_bytes(await reader.readexactly(4), "big")
    assert ServerFrame.FromString(await reader.readexactly(size)).welcome.user == "ann"
    assert await reader.read() == b""
    writer.close()


async def test_files_that_are_no_certificate_stop_the_start_with_a_sentence(
    empty: AccessCluster, tmp_path: Path
) -> None:
    (tmp_path / "pem").write_text("nothing of the kind")
    with pytest.raises(ValueError, match="give files that belong together"):
        await empty.start("access-0", tls_certificate_file=tmp_path / "pem", tls_key_file=tmp_path / "pem")


async def test_a_renewed_certificate_is_shown_from_the_next_connection_on(empty: AccessCluster, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost")
    tls = ServerTls(*pair)
    async with asyncio_server(tls) as port:
        first = await shown(authority, port)
        authority.issue("localhost", days=60)
        await tls.renew()
        assert first != await shown(authority, port) == present(pair)
    node = await empty.start("access-0", tls_certificate_file=pair.certificate, tls_key_file=pair.key)
    assert any("certificate" in name for name in node.life.tasks)


async def test_a_certificate_of_another_kind_of_key_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost")
    tls = ServerTls(*pair)
    async with asyncio_server(tls) as port:
        await shown(authority, port)
        authority.issue("localhost", rsa_key=True)
        await tls.renew()
        assert await shown(authority, port) == present(pair)


async def test_files_that_do_not_belong_together_leave_the_certificate_before_in_force(tmp_path: Path) -> None:
    """As when they are renewed one after the other."""
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost")
    tls = ServerTls(*pair)
    async with asyncio_server(tls) as port:
        before = await shown(authority, port)
        key = pair.key.read_bytes()
        authority.issue("localhost")
        renewed, _ = pair.key.read_bytes(), pair.key.write_bytes(key)
        with pytest.raises(ValueError, match="belong together"):
            await tls.renew()
        assert await shown(authority, port) == before
        pair.key.write_bytes(renewed)
        await tls.renew()
        assert await shown(authority, port) == present(pair) != before


@asynccontextmanager
async def asyncio_server(tls: ServerTls) -> AsyncIterator[int]:
    """A TLS server; gives its port."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def shown(authority: Authority, port: int) -> x509.Certificate:
    """What a client gets that trusts this authority."""
    _, writer = await asyncio.open_connection("localhost", port, ssl=authority.trusted())
    got = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(got)


def present(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())
