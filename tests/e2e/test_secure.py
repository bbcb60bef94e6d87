"""A whole cluster with certificates everywhere: nobody else gets in, and no secret is in what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from protos.tidings.internal.v1 import admin_pb2, admin_pb2_grpc
from tests.backends import clean_environment, free_port_base, stop_stack
from tests.certificates import Authority
from tidings import Client, TokenRefused
from tools.cli.stack.folder import Folder

pytestmark = pytest.mark.e2e

SAID = "MARK-of-a-message-that-nobody-else-reads"
BAD_TOKEN = "eyJMARKbadtoken.eyJMARKbadtoken.MARKbadtoken"
PASSWORD = "MARKpassword"


@dataclass
class SecureCluster:
    folder: Path
    authority: Authority
    environment: dict[str, str]

    def tidings(self, *arguments: str) -> str:
        """What the command prints, on both streams."""
        program = Path(sys.executable).with_name("tidings")
        done = subprocess.run(
            [program, *arguments, "--data", self.folder], env=self.environment,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.tidings("status", "--json"))
        return found

    def token(self, user: str) -> str:
        found: str = json.loads(self.tidings("token", user, "--json"))["token"]
        return found


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureCluster]:
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder / "authority")
    node, web = authority.issue("node.tidings"), authority.issue("web", "127.0.0.1")
    environment = clean_environment() | {
        "TIDINGS_RPC_TLS_CERTIFICATE_FILE": str(node.certificate),
        "TIDINGS_RPC_TLS_KEY_FILE": str(node.key),
        "TIDINGS_RPC_TLS_CA_FILE": str(authority.file),
        "TIDINGS_RPC_TLS_SERVER_NAME": "node.tidings",
        "TIDINGS_TLS_CERTIFICATE_FILE": str(web.certificate),
        "TIDINGS_TLS_KEY_FILE": str(web.key),
        "TIDINGS_LOG_LEVEL": "debug",
        "SSL_CERT_FILE": str(authority.file),
    }
    cluster = SecureCluster(folder / "data", authority, environment)
    try:
        cluster.tidings("up", "--access", "2", "--port-base", str(free_port_base()), "--detach")
        yield cluster
    finally:
        stop_stack(Folder.at(cluster.folder))


async def test_clients_reach_each_other_over_both_transports(secure: SecureCluster) -> None:
    status = secure.status
    urls = [node["ws"] for node in status["access"]]
    assert all(url.startswith("wss://") for url in urls)
    trusted = secure.authority.trusted()
    tcps = [f"tcps://{node['tcp']}" for node in status["access"]]
    async with (
        Client(urls, token=secure.token("ann"), device="a", codec="json", tls=trusted) as ann,
        Client(tcps, token=secure.token("bob"), device="b", tls=trusted) as bob,
    ):
        await ann.send("bob", SAID)
        async for message in bob.messages():
            assert message.text == SAID
            break
    with pytest.raises(TokenRefused):
        async with Client(urls, token=BAD_TOKEN, device="a", tls=trusted):
            pass


def test_the_command_shows_its_certificate(secure: SecureCluster) -> None:
    assert "ann" in secure.tidings("sessions", "ann")
    assert "Sent" in secure.tidings("broadcast", SAID)
    assert "number" in secure.tidings("send", "--user", "ann", "--to", "bob", SAID)


async def test_who_has_no_certificate_of_the_cluster_is_not_answered(secure: SecureCluster, tmp_path: Path) -> None:
    address = secure.status["logic"][0]["rpc"]
    theirs = Authority(tmp_path / "theirs")
    pair = theirs.issue("node.tidings")
    foreign = grpc.ssl_channel_credentials(
        secure.authority.file.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
    )
    none = grpc.ssl_channel_credentials(secure.authority.file.read_bytes())
    named = [("grpc.ssl_target_name_override", "node.tidings")]
    for channel in (
        grpc.aio.insecure_channel(address),
        grpc.aio.secure_channel(address, foreign, options=named),
        grpc.aio.secure_channel(address, none, options=named),
    ):
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await admin_pb2_grpc.AdminStub(channel).Sessions(admin_pb2.AdminUser(user="ann"), timeout=5)
            assert refused.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def test_no_secret_and_no_message_is_in_logs_states_metrics_and_settings(secure: SecureCluster) -> None:
    """The last of this module: after all that the others did, at the most talkative level."""
    status = secure.status
    written = {"status": json.dumps(status), "config": secure.tidings("config", "show", "--json")}
    for kind in ("access", "logic", "storage"):
        for node in status[kind]:
            for path in ("/debug/state", "/metrics", "/readyz"):
                written[f"{node['name']}{path}"] = httpx2.get(node["ops"] + path, trust_env=False).text
            written[f"log of {node['name']}"] = Folder.at(secure.folder).log(node["name"]).read_text()
    assert "connection opened" in written["log of access-0"] + written["log of access-1"]
    secrets = {
        "the secret": Path(status["auth"]["secret_file"]).read_text().strip(),
        "the operator's token": Folder.at(secure.folder).operator_token_file.read_text().strip(),
        "a token": "eyJ",  # every JWT begins so
        "a message": "MARK",
        "a key": "PRIVATE KEY",
    }
    found = [(what, where) for what, secret in secrets.items() for where, text in written.items() if secret in text]
    assert found == []


def test_the_password_of_a_database_is_not_shown(secure: SecureCluster, tmp_path: Path) -> None:
    """Neither by what is fine nor by what is wrong about the settings."""
    program = Path(sys.executable).with_name("tidings")
    uri = f"mongodb://user:{PASSWORD}@127.0.0.1:1/?tls=maybe&authSource={PASSWORD}"
    for more in ({}, {"TIDINGS_MONGODB_URI": f"mongo:{PASSWORD}"}, {"TIDINGS_LANE_CAPACITY": "-1"}):
        environment = secure.environment | {"TIDINGS_MONGODB_URI": uri} | more
        for arguments in (["config", "show", "--json"], ["config", "check"], ["doctor", "--json"]):
            done = subprocess.run(
                [program, *arguments, "--data", tmp_path / "none"], env=environment,
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.stdout + done.stderr
            assert PASSWORD not in done.stdout + done.stderr, arguments
    assert os.environ.get("TIDINGS_MONGODB_URI") is None
