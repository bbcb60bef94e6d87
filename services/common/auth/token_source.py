"""Where the keys for tokens come from: files, or a JWKS at a URL that is fetched again when a new key id shows up.

Guarantees: entering `Authenticator` means that there are keys (KeyRefused or Unavailable says why not); a token with
an unknown key id causes at most one fetch in `COOLDOWN_S`, whoever sends how many; a fetch that fails, however, leaves
the keys as they were, and a token that may be good by those that could not be had is told to come later (Unavailable);
that keys cannot be fetched is told once, when it changes; a fetched document is bounded in bytes and time, and a secret
in its address is told nobody. Files are read in a thread.

Does not know: what a good token is (tokens.py), what a good key is (token_keys.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

from services.common.auth.claims import Claims, Key
from services.common.auth.token_keys import KeyRefused, jwks_keys, public_key, secret_key
from services.common.auth.tokens import ALGORITHMS, TokenVerifier, UnknownKey
from services.common.clock import Clock
from services.common.scope import Owned
from services.common.settings.describe import without_password
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import Unavailable

COOLDOWN_S: Final = 10.0
REFRESH_S: Final = 300.0
RETRY_S: Final = 30.0
FETCH_TIMEOUT_S: Final = 3.0
DOCUMENT_BYTES_MAX: Final = 256 * 1024

Fetch = Callable[[], Awaitable[bytes]]

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeySources:
    """Where to look; at least one must be given."""

    secret_file: Path | None = None
    public_key_file: Path | None = None
    jwks_file: Path | None = None
    jwks_url: str = ""

    def __post_init__(self) -> None:
        if not (self.secret_file or self.public_key_file or self.jwks_file or self.jwks_url):
            raise KeyRefused("no key for tokens is set: give a secret file, a public key file, a JWKS file or its URL")


class JwksCache:
    """The keys of one JWKS document as last fetched."""

    def __init__(self, fetch: Fetch, clock: Clock, *, algorithms: Collection[str]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._algorithms = frozenset(algorithms) - {"HS256"}
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()
        self.keys: Sequence[Key] = ()
        self.problem = ""  # of the last fetch; empty: it went well
        self.fetched_at = clock.now_s()  # the keys that are here

    async def refresh(self) -> bool:
        """Fetches again, unless that was tried a moment ago; whether there are newly fetched keys since the call.

        Concurrent callers share one fetch.
        """
        before = self.keys
        async with self._lock:
            now = self._clock.now_s()
            if self.keys is before and (self._tried_at is None or now - self._tried_at >= COOLDOWN_S):
                self._tried_at = now
                await self._load()
        return self.keys is not before

    @property
    def cooldown_s(self) -> float:
        """Until it may be fetched again."""
        return 0.0 if self._tried_at is None else max(0.0, self._tried_at + COOLDOWN_S - self._clock.now_s())

    async def _load(self) -> None:
        try:
            self.keys = jwks_keys(await self._fetch(), self._algorithms)
        except (KeyRefused, Unavailable) as error:
            self.problem = str(error)
        except Exception as error:  # the edge to what somebody else publishes: it ends no node
            log.exception("the key set cannot be used")
            self.problem = f"the key set cannot be used ({type(error).__name__})"
        else:
            self.problem = ""
            self.fetched_at = self._clock.now_s()


class Authenticator(Owned):
    """The shell around `TokenVerifier`: an async context manager; `run` keeps a JWKS fresh and wants a task."""

    def __init__(
        self,
        audience: str,
        sources: KeySources,
        clock: Clock,
        *,
        algorithms: Collection[str] = ALGORITHMS,
        transport: httpx2.AsyncBaseTransport | None = None,
        told: Callable[[str], object] = str,
    ) -> None:
        """`told` hears the problem, or that there is none (empty), when it changes."""
        self._sources = sources
        self._told = told
        self._problem: str | None = None
        self._clock = clock
        self._algorithms = algorithms
        self._transport = transport
        self._fixed: tuple[Key, ...] = ()
        self._caches: list[JwksCache] = []
        self._verifier = TokenVerifier(audience, self._keys, algorithms=algorithms)

    async def _running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self._fixed = tuple(await self._read_fixed())
            fetches = await self._fetches(stack)
            self._caches = [JwksCache(fetch, self._clock, algorithms=self._algorithms) for fetch in fetches]
            for cache in self._caches:
                await cache.refresh()
                if cache.problem:
                    raise Unavailable(f"the keys for tokens could not be loaded: {cache.problem}")
            if self._caches:
                metrics.TOKEN_KEYS_AGE.set_function(self._age_s)
                stack.callback(metrics.TOKEN_KEYS_AGE.set_function, float)
            self._tell()
            yield

    @property
    def problem(self) -> str:
        """Why the keys may be old, for health; empty: they are not."""
        return "; ".join(cache.problem for cache in self._caches if cache.problem)

    def known(self, token: str) -> Claims | None:
        """The claims of a token that was found good before, and still is; None: `authenticate` says."""
        return self._verifier.known(token, self._clock.wall_ms() / 1000)

    async def authenticate(self, token: str) -> Claims:
        """The claims of a good token; TokenRefused otherwise. Waits only if the keys may have changed."""
        try:
            return self._verifier.verify(token, self._clock.wall_ms() / 1000)
        except UnknownKey as error:
            if not await self._refresh():
                raise self._unless_it_may_come(error) from None
        try:
            return self._verifier.verify(token, self._clock.wall_ms() / 1000)
        except UnknownKey as error:
            raise self._unless_it_may_come(error) from None

    async def run(self) -> None:
        """Fetches the keys every few minutes, so that a withdrawn one is forgotten, and more often while that fails;
        for ever."""
        while True:
            await asyncio.sleep(RETRY_S if self.problem else REFRESH_S)
            await self._refresh()

    def _unless_it_may_come(self, error: UnknownKey) -> UnknownKey | Unavailable:
        """While the newest keys cannot be had, nobody knows that there is no such key."""
        failing = [cache for cache in self._caches if cache.problem]
        if not failing or not error.may_come:
            return error
        retry_s = max(1.0, *(cache.cooldown_s for cache in failing))
        return Unavailable(
            "the keys of the tokens' issuer cannot be fetched now, and this token may need a new one: try again later",
            round(retry_s * 1000),
        )

    def _age_s(self) -> float:
        return max(self._clock.now_s() - cache.fetched_at for cache in self._caches)

    def _tell(self) -> None:
        """One line for each change, however often it is asked for."""
        problem = self.problem
        if problem == self._problem:
            return
        if problem:
            log.warning("the keys for tokens cannot be fetched, the last ones count", problem=problem)
        elif self._problem:
            log.info("the keys for tokens can be fetched again")
        self._problem = problem
        self._told(problem)

    def _keys(self) -> Sequence[Key]:
        return [*self._fixed, *(key for cache in self._caches for key in cache.keys)]

    async def _refresh(self) -> bool:
        changed = [await cache.refresh() for cache in self._caches]
        self._tell()
        return any(changed)

    async def _read_fixed(self) -> list[Key]:
        keys = []
        for path, parse in ((self._sources.secret_file, secret_key), (self._sources.public_key_file, public_key)):
            if path is None:
                continue
            try:
                key = parse(await _read(path))
            except (KeyRefused, Unavailable) as error:
                raise KeyRefused(f"{path}: {error}") from None
            if key.algorithm not in self._algorithms:
                raise KeyRefused(
                    f"{path}: this is a key for {key.algorithm}, which token_algorithms does not allow: add it there, "
                    "or give another key"
                )
            keys.append(key)
        return keys

    async def _fetches(self, stack: AsyncExitStack) -> list[Fetch]:
        fetches: list[Fetch] = []
        path, url = self._sources.jwks_file, self._sources.jwks_url
        if path is not None:
            fetches.append(lambda: _read(path))
        if url:
            # One client for all fetches: making one reads the certificates, which holds up the loop.
            client = await stack.enter_async_context(
                httpx2.AsyncClient(transport=self._transport, timeout=FETCH_TIMEOUT_S)
            )
            fetches.append(lambda: _get(url, client))
        return fetches


async def _read(path: Path) -> bytes:
    try:
        return await asyncio.to_thread(_read_bounded, path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read ({error.strerror}): name one that this process may read") from None


def _read_bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(DOCUMENT_BYTES_MAX + 1)
    if len(text) > DOCUMENT_BYTES_MAX:
        raise KeyRefused(f"it has more than {DOCUMENT_BYTES_MAX} bytes, so it is no key: name the file of one")
    return text


async def _get(url: str, client: httpx2.AsyncClient) -> bytes:
    shown = without_password(url)  # what fails is told in the log and on /readyz
    try:
        async with asyncio.timeout(FETCH_TIMEOUT_S), client.stream("GET", url) as response:
            if response.status_code != httpx2.codes.OK:
                raise Unavailable(
                    f"{shown} answered {response.status_code}: correct token_jwks_url, or look at that server"
                )
            text = bytearray()
            async for part in response.aiter_bytes():
                text += part
                if len(text) > DOCUMENT_BYTES_MAX:
                    raise KeyRefused(
                        f"{shown} has more than {DOCUMENT_BYTES_MAX} bytes, so it is no key set: correct token_jwks_url"
                    )
            return bytes(text)
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise Unavailable(
            f"{shown} cannot be fetched ({type(error).__name__}): correct token_jwks_url, or look at that server"
        ) from None
