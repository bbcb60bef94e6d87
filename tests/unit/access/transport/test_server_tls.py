"""The certificate that clients are shown."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from services.access.transport.server_tls import ServerTls
from tests.certificates import Authority


def shown(authority: Authority, tls: ServerTls) -> bytes:
    """The certificate that a client gets, through memory."""
    client_in, client_out, server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(authority.file))
    client = context.wrap_bio(client_in, client_out, server_hostname="localhost")
    server = tls.context.wrap_bio(server_in, server_out, server_side=True)
    for _ in range(6):
        for end in (client, server):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
        server_in.write(client_out.read())
        client_in.write(server_out.read())
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return found


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    tls = ServerTls(*authority.issue("localhost"))
    before = shown(authority, tls)
    authority.issue("localhost", days=60)
    assert shown(authority, tls) == before, "it is read when it is told to"
    await tls.renew()
    assert shown(authority, tls) != before


async def test_files_that_do_not_fit_change_nothing_and_say_what_to_do(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost")
    tls = ServerTls(*pair)
    before = shown(authority, tls)
    pair.key.write_bytes(authority.issue("other").key.read_bytes())
    with pytest.raises(ValueError, match="give files that belong together"):
        await tls.renew()
    assert shown(authority, tls) == before


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ServerTls(tmp_path / "none.pem", None)
