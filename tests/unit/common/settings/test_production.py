"""`profile = production` refuses what is only safe on one machine: every objection at once, with what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.common.settings.production import is_loopback, of_url
from services.common.settings.sources import SettingsError, load, settings_class
from tests.certificates import Authority

RANDOM = b"7Qd0vXn2LkzR9wBfYt5mHcJ8sGpA3eUi1oKrM4xZyWqE6TjV\n"
EACH = pytest.mark.parametrize("service", ["access", "logic", "storage"])


class Safe:
    """The environment of a node of each kind to which nothing can be objected, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder / "authority")
        node, web = authority.issue("node"), authority.issue("web")
        self.secret = private(folder / "secret", RANDOM)
        self.operator_token = private(folder / "operator", RANDOM)
        self.password = private(folder / "password", b"some password\n")
        self.rpc_key, self.web_key = node.key, web.key
        self.environment = {
            "TIDINGS_NODE": "n-0",
            "TIDINGS_PROFILE": "production",
            "TIDINGS_OPS_LISTEN": "10.1.2.3:8200",
            "TIDINGS_RPC_TLS_CERTIFICATE_FILE": str(node.certificate),
            "TIDINGS_RPC_TLS_KEY_FILE": str(node.key),
            "TIDINGS_RPC_TLS_CA_FILE": str(authority.file),
            "TIDINGS_TLS_CERTIFICATE_FILE": str(web.certificate),
            "TIDINGS_TLS_KEY_FILE": str(web.key),
            "TIDINGS_ETCD_ENDPOINTS": "etcd.example.com:2379",
            "TIDINGS_ETCD_TLS_CA_FILE": str(authority.file),
            "TIDINGS_KAFKA_BOOTSTRAP": "kafka.example.com:9093",
            "TIDINGS_KAFKA_SECURITY": "sasl_ssl",
            "TIDINGS_KAFKA_SASL_USERNAME": "tidings",
            "TIDINGS_KAFKA_SASL_PASSWORD_FILE": str(self.password),
            "TIDINGS_MONGODB_URI": "mongodb://user:pass@db.example.com/?tls=true",
            "TIDINGS_TOKEN_SECRET_FILE": str(self.secret),
            "TIDINGS_OPERATOR_TOKEN_FILE": str(self.operator_token),
        }

    def objections(self, service: str, *without: str, **given: str) -> Mapping[str, str]:
        """What is said of a node with these settings instead: the advice by the name, without its prefix."""
        environment = {name: value for name, value in self.environment.items() if name[8:].lower() not in without}
        environment |= {f"TIDINGS_{name.upper()}": value for name, value in given.items()}
        try:
            load(settings_class(service), environment)
        except SettingsError as error:
            return {problem.name.removeprefix("TIDINGS_").lower(): problem.advice for problem in error.problems}
        return {}


def private(file: Path, text: bytes) -> Path:
    file.touch(mode=0o600)
    file.write_bytes(text)
    return file


@pytest.fixture
def safe(tmp_path: Path) -> Safe:
    return Safe(tmp_path)


@EACH
def test_a_node_with_certificates_and_secrets_of_its_own_starts(safe: Safe, service: str) -> None:
    assert safe.objections(service) == {}


def test_the_local_profile_objects_to_nothing_of_this(safe: Safe) -> None:
    without = (
        "rpc_tls_certificate_file",
        "rpc_tls_key_file",
        "rpc_tls_ca_file",
        "tls_certificate_file",
        "tls_key_file",
    )
    assert safe.objections("access", *without, profile="local", ops_listen="0.0.0.0:8200") == {}


@EACH
def test_calls_between_nodes_must_have_certificates(safe: Safe, service: str) -> None:
    without = ("rpc_tls_certificate_file", "rpc_tls_key_file", "rpc_tls_ca_file")
    told = safe.objections(service, *without)
    assert list(told) == ["rpc_tls_certificate_file"]
    assert "rpc_tls_ca_file" in told["rpc_tls_certificate_file"]


def test_clients_must_be_spoken_to_by_tls_here_or_by_a_proxy_that_is_named(safe: Safe) -> None:
    without = ("tls_certificate_file", "tls_key_file")
    told = safe.objections("access", *without)
    assert list(told) == ["tls_certificate_file"]
    assert "tls_terminated_upstream" in told["tls_certificate_file"]
    assert safe.objections("access", *without, tls_terminated_upstream="true") == {}


@EACH
@pytest.mark.parametrize("address", ["0.0.0.0:8200", "[::]:8200", "8.8.8.8:8200", "[2a00:1450::1]:8200", "ops:8200"])
def test_the_ops_port_must_not_be_public(safe: Safe, service: str, address: str) -> None:
    assert list(safe.objections(service, ops_listen=address)) == ["ops_listen"]


@pytest.mark.parametrize("address", ["127.0.0.1:8200", "[::1]:8200", "localhost:8200", "192.168.1.9:1", "[fd00::1]:1"])
def test_the_ops_port_may_be_on_loopback_or_in_a_private_network(safe: Safe, address: str) -> None:
    assert safe.objections("storage", ops_listen=address) == {}


@pytest.mark.parametrize("secret", [b"0" * 48, b"change-me-change-me-1234567890-abc", b"abcabcabc" * 5])
@pytest.mark.parametrize(("service", "name"), [("access", "token_secret_file"), ("logic", "operator_token_file")])
def test_a_secret_must_not_be_a_placeholder(safe: Safe, tmp_path: Path, service: str, name: str, secret: bytes) -> None:
    told = safe.objections(service, **{name: str(private(tmp_path / "other", secret))})
    assert list(told) == [name]
    assert secret.decode() not in told[name]


def test_an_operators_token_must_be_as_long_as_a_secret(safe: Safe, tmp_path: Path) -> None:
    told = safe.objections("logic", operator_token_file=str(private(tmp_path / "other", b"7Qd0vXn2LkzR9wBfYt5m")))
    assert "32" in told["operator_token_file"]


@pytest.mark.parametrize(
    ("service", "name", "file"),
    [
        ("access", "token_secret_file", "secret"),
        ("access", "tls_key_file", "web_key"),
        ("access", "rpc_tls_key_file", "rpc_key"),
        ("logic", "operator_token_file", "operator_token"),
        ("storage", "kafka_sasl_password_file", "password"),
    ],
)
def test_files_with_secrets_must_not_be_everybodys_to_read(safe: Safe, service: str, name: str, file: str) -> None:
    path: Path = getattr(safe, file)
    path.chmod(0o640)
    assert safe.objections(service) == {}
    path.chmod(0o644)
    told = safe.objections(service)
    assert list(told) == [name]
    assert "chmod" in told[name]


@pytest.mark.parametrize(
    ("name", "value", "told_of"),
    [
        ("kafka_security", "sasl_plaintext", "kafka_security"),
        ("mongodb_uri", "mongodb://user:pass@db.example.com/", "mongodb_uri"),
        ("etcd_tls_ca_file", "", "etcd_tls_ca_file"),
    ],
)
def test_backends_must_be_spoken_to_by_tls_unless_the_network_is_said_to_be_safe(
    safe: Safe, name: str, value: str, told_of: str
) -> None:
    told = safe.objections("storage", **{name: value})
    assert list(told) == [told_of]
    assert "plaintext_backends" in told[told_of]
    assert safe.objections("storage", plaintext_backends="true", **{name: value}) == {}


def test_backends_on_loopback_need_no_tls(safe: Safe) -> None:
    given = {"etcd_tls_ca_file": "", "etcd_endpoints": "127.0.0.1:2379,[::1]:2379"}
    given |= {"mongodb_uri": "mongodb://127.0.0.1:27017,localhost:27018/?replicaSet=rs"}
    assert safe.objections("storage", **given) == {}


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("mongodb://user:pass@db.example.com/?tls=true&tlsInsecure=true", "tlsInsecure"),
        ("mongodb+srv://user:pass@db.example.com/?tlsAllowInvalidHostnames=true", "tlsAllowInvalidHostnames"),
        ("mongodb://db.example.com/?tls=true", "login"),
        ("mongodb://user:pass@[db.example.com/?tls=true", "address"),
    ],
)
def test_mongodb_must_be_the_real_one_and_know_who_asks(safe: Safe, uri: str, word: str) -> None:
    told = safe.objections("storage", plaintext_backends="true", mongodb_uri=uri)
    assert word in told["mongodb_uri"]
    assert "pass" not in told["mongodb_uri"].replace("password", "")


def test_a_login_at_mongodb_by_certificate_is_one(safe: Safe) -> None:
    uri = "mongodb://db.example.com/?tls=true&authMechanism=MONGODB-X509"
    assert safe.objections("storage", mongodb_uri=uri) == {}


@pytest.mark.parametrize(("service", "name"), [("access", "token_jwks_url"), ("logic", "hook_url")])
def test_what_is_fetched_or_asked_by_http_must_be_asked_by_https(safe: Safe, service: str, name: str) -> None:
    assert list(safe.objections(service, **{name: "http://login.example.com/x"})) == [name]
    assert safe.objections(service, **{name: "http://127.0.0.1:9/x"}) == {}
    assert safe.objections(service, **{name: "https://login.example.com/x"}) == {}


def test_all_objections_are_told_at_once(safe: Safe) -> None:
    safe.secret.chmod(0o644)
    without = (
        "rpc_tls_certificate_file",
        "rpc_tls_key_file",
        "rpc_tls_ca_file",
        "tls_certificate_file",
        "tls_key_file",
    )
    told = safe.objections(
        "access", *without, ops_listen="0.0.0.0:1", etcd_tls_ca_file="", kafka_security="sasl_plaintext"
    )
    assert set(told) == {
        "rpc_tls_certificate_file", "tls_certificate_file", "token_secret_file", "ops_listen", "etcd_tls_ca_file",
        "kafka_security",
    }  # fmt: skip


def test_a_node_that_is_not_safe_ends_at_once_and_says_why(safe: Safe) -> None:
    safe.secret.chmod(0o644)
    ended = subprocess.run(
        [sys.executable, "-m", "services.access"],
        env=safe.environment | {"TIDINGS_OPS_LISTEN": "0.0.0.0:8200"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["TIDINGS_OPS_LISTEN", "TIDINGS_TOKEN_SECRET_FILE"]
    assert RANDOM.decode().strip() not in ended.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "/run/mongodb.sock"])
def test_what_is_on_this_machine_may_be_spoken_to_in_the_clear(address: str) -> None:
    assert is_loopback(address)
    assert not is_loopback("db.example.com:1")


def test_a_url_that_is_not_given_is_no_objection() -> None:
    assert not list(of_url("hook_url", ""))
    assert [objection.name for objection in of_url("hook_url", "http://db.example.com")] == ["hook_url"]


# ---- settings that do not fit together, in any profile


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"rpc_tls_ca_file": ""}, "rpc_tls_ca_file"),
        ({"etcd_tls_ca_file": "", "etcd_tls_certificate_file": "@", "etcd_tls_key_file": "@"}, "etcd_tls_ca_file"),
        ({"etcd_tls_key_file": "@"}, "etcd_tls_certificate_file"),
        ({"kafka_tls_key_file": "@"}, "kafka_tls_certificate_file"),
        ({"kafka_security": "ssl"}, "kafka_sasl_username"),
        ({"kafka_sasl_username": ""}, "kafka_sasl_username"),
        ({"kafka_security": "sasl_plaintext", "kafka_tls_ca_file": "@"}, "kafka_tls_"),
    ],
)
def test_halves_of_a_certificate_or_a_login_are_refused(safe: Safe, given: dict[str, str], word: str) -> None:
    given = {name: str(safe.rpc_key) if value == "@" else value for name, value in given.items()}
    (advice,) = safe.objections("storage", **given).values()
    assert word in advice


def test_a_file_that_cannot_be_read_is_named_before_anything_starts(safe: Safe) -> None:
    assert "cannot be read" in safe.objections("access", tls_key_file="/nowhere/key.pem")["tls_key_file"]
