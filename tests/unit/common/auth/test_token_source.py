"""Where keys come from: files and a key set that changes."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from structlog.testing import capture_logs

from services.common.auth.token_keys import KeyRefused
from services.common.auth.token_source import DOCUMENT_BYTES_MAX, Authenticator, JwksCache, KeySources
from services.common.auth.tokens import TokenRefused, UnknownKey, sign
from services.common.clock import ManualClock
from services.common.telemetry import metrics
from tidings_protocol.errors import TidingsError, Unavailable

SECRET = b"a secret that is long enough for anybody"
WALL_MS = 1_700_000_000_000
NOW = WALL_MS / 1000
URL = "https://issuer.example/jwks.json"


def private(number: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def key_set(*numbers: int) -> bytes:
    keys = [
        {**jwt.algorithms.OKPAlgorithm.to_jwk(private(number).public_key(), as_dict=True), "kid": f"k{number}"}
        for number in numbers
    ]
    return json.dumps({"keys": keys}).encode()


def token(number: int) -> str:
    claims = {"sub": "alice", "aud": "local", "exp": NOW + 60}
    return jwt.encode(claims, private(number), algorithm="EdDSA", headers={"kid": f"k{number}"})


class Issuer(httpx2.AsyncBaseTransport):
    """A web server that counts and can be away."""

    def __init__(self, document: bytes) -> None:
        self.document = document
        self.status = 200
        self.away = False
        self.asked = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise httpx2.ConnectError("refused")
        return httpx2.Response(self.status, content=self.document, request=request)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ms=WALL_MS)


def age_of_keys() -> float:
    (family,) = metrics.TOKEN_KEYS_AGE.collect()
    return family.samples[0].value


def from_url(issuer: Issuer, clock: ManualClock, **options: Any) -> Authenticator:
    return Authenticator("local", KeySources(jwks_url=URL), clock, transport=issuer, **options)


async def test_a_secret_file_lets_its_tokens_in(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")

    async with Authenticator("local", KeySources(secret_file=path), clock) as authenticator:
        good = sign(SECRET, "alice", "local", 60, now=NOW)
        assert (await authenticator.authenticate(good)).user == "alice"

        clock.advance(71)
        with pytest.raises(TokenRefused, match="run out"):
            await authenticator.authenticate(good)


async def test_a_key_set_in_a_file_is_read_again_when_a_new_key_shows_up(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(1))

    async with Authenticator("local", KeySources(jwks_file=path), clock) as authenticator:
        path.write_bytes(key_set(1, 2))
        clock.advance(11)
        assert (await authenticator.authenticate(token(2))).user == "alice"


@pytest.mark.parametrize("text", [b"short", b"-----BEGIN PUBLIC KEY-----\n" * 3, b"x" * (DOCUMENT_BYTES_MAX + 1)])
async def test_a_file_without_a_usable_secret_stops_the_start_and_is_named(
    tmp_path: Path, clock: ManualClock, text: bytes
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(text)

    with pytest.raises(KeyRefused, match="secret: "):
        async with Authenticator("local", KeySources(secret_file=path), clock):
            pass


async def test_a_file_that_is_not_there_stops_the_start_and_is_named(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(KeyRefused, match=r"nowhere cannot be read \(No such file"):
        async with Authenticator("local", KeySources(public_key_file=tmp_path / "nowhere"), clock):
            pass


async def test_a_key_that_is_not_on_the_allow_list_stops_the_start(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)

    with pytest.raises(KeyRefused, match="HS256, which token_algorithms does not allow: add it"):
        async with Authenticator("local", KeySources(secret_file=path), clock, algorithms=["EdDSA"]):
            pass


def test_no_source_at_all_is_a_mistake() -> None:
    with pytest.raises(KeyRefused, match="no key for tokens is set"):
        KeySources()


async def test_a_key_set_at_a_url_is_fetched_once_for_many_tokens(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))

    async with from_url(issuer, clock) as authenticator:
        for _ in range(5):
            assert (await authenticator.authenticate(token(1))).user == "alice"

    assert issuer.asked == 1


async def test_an_unknown_key_id_fetches_the_set_again(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))

    async with from_url(issuer, clock) as authenticator:
        issuer.document = key_set(2)
        clock.advance(11)
        assert (await authenticator.authenticate(token(2))).user == "alice"
        with pytest.raises(UnknownKey):
            await authenticator.authenticate(token(1))

    assert issuer.asked == 2


async def test_a_flood_of_unknown_key_ids_fetches_once_in_the_cooldown(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))

    async with from_url(issuer, clock) as authenticator:
        clock.advance(11)
        results = await asyncio.gather(
            *(authenticator.authenticate(token(9)) for _ in range(50)), return_exceptions=True
        )

    assert all(isinstance(result, UnknownKey) for result in results)
    assert issuer.asked == 2


async def test_all_who_wait_for_one_fetch_get_its_keys(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))

    async with from_url(issuer, clock) as authenticator:
        issuer.document = key_set(1, 2)
        clock.advance(11)
        found = await asyncio.gather(*(authenticator.authenticate(token(2)) for _ in range(20)))

    assert {claims.user for claims in found} == {"alice"}
    assert issuer.asked == 2


async def test_an_issuer_that_is_away_leaves_the_keys_as_they_were(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))

    async with from_url(issuer, clock) as authenticator:
        issuer.away = True
        clock.advance(11)
        with pytest.raises(Unavailable):
            await authenticator.authenticate(token(2))
        assert (await authenticator.authenticate(token(1))).user == "alice"
        assert "cannot be fetched" in authenticator.problem

        issuer.away, issuer.document = False, key_set(2)
        clock.advance(11)
        assert (await authenticator.authenticate(token(2))).user == "alice"
        assert authenticator.problem == ""


async def test_a_token_that_may_be_good_by_keys_that_cannot_be_had_is_told_to_come_later(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))

    async with from_url(issuer, clock) as authenticator:
        issuer.away = True
        clock.advance(11)
        for waited in (0, 4):
            clock.advance(waited)
            with pytest.raises(Unavailable) as refused:
                await authenticator.authenticate(token(2))
            assert refused.value.retry_after_ms == (10 - waited) * 1000
        with pytest.raises(UnknownKey):  # a shared secret comes from no key set
            await authenticator.authenticate(sign(SECRET, "alice", "local", 60, now=NOW))

        issuer.away, issuer.document = False, key_set(2)
        clock.advance(7)
        assert (await authenticator.authenticate(token(2))).user == "alice"
        with pytest.raises(UnknownKey):
            await authenticator.authenticate(token(3))


async def test_what_is_wrong_with_the_keys_is_told_once_when_it_changes(clock: ManualClock) -> None:
    issuer, told = Issuer(key_set(1)), list[str]()

    with capture_logs() as lines:
        async with from_url(issuer, clock, told=told.append) as authenticator:
            for away in (False, True, True, False):
                issuer.away = away
                clock.advance(11)
                with suppress(TidingsError):
                    await authenticator.authenticate(token(9))

    assert [bool(problem) for problem in told] == [False, True, False]
    assert [line["event"] for line in lines] == [
        "the keys for tokens cannot be fetched, the last ones count",
        "the keys for tokens can be fetched again",
    ]


async def test_the_age_of_the_keys_is_told(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))

    async with from_url(issuer, clock) as authenticator:
        issuer.away = True
        clock.advance(11)
        with suppress(TidingsError):
            await authenticator.authenticate(token(9))
        assert age_of_keys() == 11
        issuer.away = False
        clock.advance(11)
        with suppress(TidingsError):
            await authenticator.authenticate(token(9))
        assert age_of_keys() == 0
    assert age_of_keys() == 0


async def test_a_password_in_the_address_is_told_nobody(clock: ManualClock) -> None:
    issuer = Issuer(key_set(1))
    sources = KeySources(jwks_url="https://user:s3cret@issuer.example/jwks?key=s3cret")

    async with Authenticator("local", sources, clock, transport=issuer) as authenticator:
        for change in ({"away": True}, {"away": False, "status": 500}, {"document": b"x" * (DOCUMENT_BYTES_MAX + 1)}):
            for name, value in change.items():
                setattr(issuer, name, value)
            clock.advance(11)
            with suppress(TidingsError):
                await authenticator.authenticate(token(9))
            assert "issuer.example" in authenticator.problem
            assert "s3cret" not in authenticator.problem
            issuer.status = 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"away": True}, "cannot be fetched"),
        ({"status": 404}, "answered 404"),
        ({"document": b"x" * (DOCUMENT_BYTES_MAX + 1)}, "more than"),
        ({"document": b"{}"}, "JWKS"),
    ],
)
async def test_a_key_set_that_cannot_be_had_stops_the_start_with_the_reason(
    clock: ManualClock, change: dict[str, Any], words: str
) -> None:
    issuer = Issuer(key_set(1))
    for name, value in change.items():
        setattr(issuer, name, value)

    with pytest.raises(Unavailable, match=words):
        async with from_url(issuer, clock):
            pass


async def test_only_shared_secrets_on_the_allow_list_leave_no_use_for_a_key_set(clock: ManualClock) -> None:
    with pytest.raises(Unavailable, match="put RS256, ES256 or EdDSA on the allow-list"):
        async with from_url(Issuer(key_set(1)), clock, algorithms=["HS256"]):
            pass


async def test_a_refresh_tells_whether_there_are_new_keys(clock: ManualClock) -> None:
    async def fetch() -> bytes:
        return key_set(1)

    cache = JwksCache(fetch, clock, algorithms=["EdDSA"])

    assert await cache.refresh()
    assert not await cache.refresh()
    clock.advance(11)
    assert await cache.refresh()
