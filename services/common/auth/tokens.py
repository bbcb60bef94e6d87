"""Tokens: JWTs that say who a user is. Checked here, without I/O; where keys come from is token_source.py.

A token is accepted if a key of the cluster signed it with that key's own algorithm, the algorithm is on the
allow-list, `aud` is (or holds) the cluster's name, `sub` is a valid user id, `exp` lies ahead, and `nbf` and `iat`, if
there, do not. Clocks may differ by the leeway.

Guarantees: a key is bound to one algorithm, so a public key is never taken as a shared secret; `none` never passes; no
claim is looked at before the signature is right; `expired` is said only of a token that is right otherwise. A token
that was found good is known again (seen_tokens.py).

Does not know: the time (an argument), files, HTTP, revocation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from jwt import PyJWS
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError, InvalidTokenError

from services.common.auth.claims import LEEWAY_S, Claims, Key
from services.common.auth.seen_tokens import SeenTokens
from tidings_protocol import close
from tidings_protocol.errors import Unauthenticated
from tidings_protocol.ids import USER_RULE, is_user

ALGORITHMS: Final = ("HS256", "EdDSA", "RS256", "ES256")
SECRET_BYTES_MIN: Final = 32
TOKEN_CHARACTERS_MAX: Final = 16 * 1024
# Later than any token's end; larger numbers of seconds are cut to it, so that timers can hold them.
END_OF_TIME_S: Final = 253_402_300_799.0


class _CheckedSecrets(HMACAlgorithm):
    """HS256 with secrets that `check_secret` has seen: the library looks at each anew for every token, which takes a
    third of the time that a token takes.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        assert isinstance(key, bytes)
        return key


_hs256 = HMACAlgorithm(HMACAlgorithm.SHA256)
_jws = PyJWS()
_jws.unregister_algorithm("HS256")
_jws.register_algorithm("HS256", _CheckedSecrets(HMACAlgorithm.SHA256))


class TokenRefused(Unauthenticated):
    """`close_code` is 4506 if the token has merely run out, else 4500; `reason` says what is wrong with it."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason


class UnknownKey(TokenRefused):
    """No key of that id is known: fetching the keys again may help, unless it would be a shared secret."""

    def __init__(self, algorithm: str, kid: str) -> None:
        super().__init__(close.UNAUTHENTICATED.code, f"no {algorithm} key of this cluster has the token's key id {kid}")
        self.may_come = algorithm != "HS256"


class TokenVerifier:
    """Checks tokens against the keys that `keys` gives at that moment."""

    def __init__(
        self, audience: str, keys: Callable[[], Sequence[Key]], *, algorithms: Collection[str] = ALGORITHMS
    ) -> None:
        unknown = set(algorithms) - set(ALGORITHMS)
        if unknown or not algorithms:
            raise ValueError(f"token algorithms must be some of {', '.join(ALGORITHMS)}, not {sorted(unknown)}")
        self._audience = audience
        self._keys = keys
        self._algorithms = frozenset(algorithms)
        self._seen = SeenTokens()

    def known(self, token: str, now: float) -> Claims | None:
        """The claims of a token that was found good before, and still is; None: it has to be verified."""
        return self._seen.claims_of(token, self._keys(), now)

    def verify(self, token: str, now: float) -> Claims:
        """The claims of a good token at `now` (seconds since 1970); TokenRefused otherwise."""
        known = self.known(token, now)
        if known is not None:
            return known
        if not token:
            raise _refused("the hello has no token: put a signed token into `token`")
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise _refused("the token is not a JWT, since it is too long or not ASCII: get one from its issuer")
        payload, key = self._signed_payload(token)
        claims = check_claims(payload, self._audience, now)
        self._seen.add(token, claims, key, now)
        return claims

    def _signed_payload(self, token: str) -> tuple[bytes, Key]:
        """The payload of a token whose signature is right, and the key that it is of."""
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _refused(
                f"the token is signed with {_shown(algorithm)}: allowed are {', '.join(sorted(self._algorithms))}"
            )
        candidates = [
            key
            for key in self._keys()
            if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid)
        ]
        if not candidates:
            raise UnknownKey(algorithm, _shown(kid))
        for key in candidates:
            try:
                payload: bytes = _jws.decode_complete(token, key.material, algorithms=[key.algorithm])["payload"]
            except (InvalidTokenError, InvalidKeyError):
                continue
            return payload, key
        raise _refused("the token's signature is not of a key of this cluster: get a token from its issuer")


def check_claims(payload: bytes, audience: str, now: float) -> Claims:
    """The claims of a payload whose signature is right."""
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise _refused("the token's payload is not JSON: get a token from its issuer") from None
    if not isinstance(claims, dict):
        raise _refused("the token's payload is not a JSON object: get a token from its issuer")
    _check_audience(claims.get("aud"), audience)
    user = _subject(claims.get("sub"))
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise _refused("the token has no `exp`, and one without an end is not accepted: get one that runs out")
    not_before, issued_at = _time(claims, "nbf"), _time(claims, "iat")
    if not_before is not None and not_before > now + LEEWAY_S:
        raise _refused("the token is not valid yet (`nbf`): wait, or set the clock of its issuer")
    if issued_at is not None and issued_at > now + LEEWAY_S:
        raise _refused("the token was issued in the future (`iat`): set the clock of its issuer")
    if now >= expires_at + LEEWAY_S:
        raise TokenRefused(close.TOKEN_EXPIRED.code, "the token has run out (`exp`): get a new one")
    return Claims(user, expires_at)


def sign(secret: bytes, user: str, audience: str, ttl_s: float, *, now: float) -> str:
    """A HS256 token for this user, from `now` (seconds since 1970) on. ValueError for what no node would accept."""
    if not is_user(user):
        raise ValueError(f"{user!a} is not a user id: it needs {USER_RULE}")
    claims = {"sub": user, "aud": audience, "iat": int(now), "exp": int(now + ttl_s)}
    return _jws.encode(json.dumps(claims, separators=(",", ":")).encode(), check_secret(secret), algorithm="HS256")


def check_secret(secret: bytes) -> bytes:
    """The secret itself; ValueError if it is too short to keep anybody out, or is not a secret at all."""
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"the token secret has {len(secret)} bytes: it needs at least {SECRET_BYTES_MIN}")
    if b"-----BEGIN " in secret:
        raise ValueError("the token secret is a PEM key: a public key is given as such, not as a shared secret")
    try:
        return _hs256.prepare_key(secret)
    except InvalidKeyError:
        raise ValueError("the token secret is a public key: give that as such, not as a shared secret") from None


def _refused(reason: str) -> TokenRefused:
    return TokenRefused(close.UNAUTHENTICATED.code, reason)


def _header(token: str) -> dict[str, Any]:
    if token.count(".") != 2:
        raise _refused("the token is not a JWT: it needs three parts with dots between them")
    try:
        return _jws.get_unverified_header(token)
    except InvalidTokenError:
        raise _refused("the token is not a JWT, since its parts cannot be decoded: get one from its issuer") from None


def _check_audience(given: object, audience: str) -> None:
    if given is None:
        raise _refused(f"the token has no `aud`: it must name this cluster, {audience}")
    if given != audience and not (isinstance(given, list) and audience in given):
        raise _refused(f"the token is for another cluster (`aud`): get one for {audience}")


def _subject(given: object) -> str:
    if not isinstance(given, str) or not is_user(given):
        raise _refused(f"the token's `sub` is not a user id: it needs {USER_RULE}")
    return given


def _time(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(_capped(value)):
        raise _refused(f"the token's `{name}` is not a number: it must be seconds since 1970")
    return _capped(value)


def _capped(value: float) -> float:
    # Compared before it is converted: an int may be too large for a float.
    return END_OF_TIME_S if value > END_OF_TIME_S else -END_OF_TIME_S if value < -END_OF_TIME_S else float(value)


def _shown(value: object) -> str:
    return ascii(value)[:80]
