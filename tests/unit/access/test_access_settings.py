"""What an access node is told, and the mistakes that stop its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.access.options import session_policy
from services.access.settings import AccessSettings
from services.common.settings.sources import SettingsError, load

GIVEN = {"TIDINGS_NODE": "access-0", "TIDINGS_TOKEN_SECRET_FILE": "/secret"}


def test_the_defaults_are_those_of_the_protocol() -> None:
    settings = load(AccessSettings, GIVEN)
    policy = session_policy(settings)
    assert (settings.frame_bytes_max, settings.content_bytes_max) == (131_072, 32_768)
    assert (policy.limits.sends_per_s, policy.limits.sends_burst) == (1000, 2000)
    assert (policy.heartbeat.interval_s, policy.heartbeat.mobile_interval_s, policy.heartbeat.idle_interval_s) == (
        15,
        30,
        120,
    )
    assert (settings.backoff_base_ms, settings.backoff_max_ms, settings.backoff_factor) == (500, 20_000, 2)
    assert settings.slow_consumer_bytes == 262_144
    assert policy.unanswered_max == 256
    assert settings.placement == "ring"
    assert settings.ws_address == "ws://127.0.0.1:8000/v1/ws"
    assert settings.tcp_address == "127.0.0.1:8100"


def test_a_session_lingers_as_long_as_the_settings_say() -> None:
    assert session_policy(load(AccessSettings, GIVEN | {"TIDINGS_LINGER_S": "7"})).linger_s == 7


def test_public_addresses_and_tls_show_in_the_addresses(tmp_path: Path) -> None:
    (tmp_path / "pem").touch()
    file = str(tmp_path / "pem")
    given = {"TIDINGS_TLS_CERTIFICATE_FILE": file, "TIDINGS_TLS_KEY_FILE": file}
    assert load(AccessSettings, GIVEN | given).ws_address == "wss://127.0.0.1:8000/v1/ws"
    public = load(AccessSettings, GIVEN | {"TIDINGS_WS_PUBLIC": "wss://a.example/v1/ws", "TIDINGS_TCP_PUBLIC": "a:1"})
    assert (public.ws_address, public.tcp_address) == ("wss://a.example/v1/ws", "a:1")


@pytest.mark.parametrize("every", ["0.0.0.0", "[::]", "[::0]", "0", "[::ffff:0.0.0.0]"])
@pytest.mark.parametrize(("listen", "public"), [("WS_LISTEN", "WS_PUBLIC"), ("TCP_LISTEN", "TCP_PUBLIC")])
def test_clients_must_be_told_an_address_that_is_one(listen: str, public: str, every: str) -> None:
    given = GIVEN | {f"TIDINGS_{listen}": f"{every}:8000"}
    with pytest.raises(SettingsError, match=f"{public.lower()} must be set when {listen.lower()} is every address"):
        load(AccessSettings, given)
    named = {"TIDINGS_WS_PUBLIC": "wss://a.example/v1/ws", "TIDINGS_TCP_PUBLIC": "a.example:1"}
    load(AccessSettings, given | named)
    load(AccessSettings, given | {"TIDINGS_PLACEMENT": "any"})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"TIDINGS_CONTENT_BYTES_MAX": "100000"}, "frame_bytes_max must be at least twice content_bytes_max"),
        ({"TIDINGS_TLS_KEY_FILE": __file__}, "belong together"),
        ({"TIDINGS_TOKEN_ALGORITHMS": "HS256,none"}, "token_algorithms has none"),
        ({"TIDINGS_HEARTBEAT_S": "500"}, "idle_heartbeat_s must not be below"),
        ({"TIDINGS_PLACEMENT": "here"}, "TIDINGS_PLACEMENT"),
        ({"TIDINGS_WS_PUBLIC": "http://x"}, "TIDINGS_WS_PUBLIC"),
        ({"TIDINGS_SENDS_PER_SEC": "3"}, "did you mean TIDINGS_SENDS_PER_S"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(AccessSettings, GIVEN | given)
    assert sentence in str(refused.value)


def test_a_node_without_a_key_for_tokens_does_not_start() -> None:
    with pytest.raises(SettingsError, match="without a key nobody could log in"):
        load(AccessSettings, {"TIDINGS_NODE": "access-0"})


def test_a_key_file_is_a_path() -> None:
    assert load(AccessSettings, GIVEN).token_secret_file == Path("/secret")
