"""Keys from the texts that operators keep them in: a secret, a PEM public key, a JWKS document.

Guarantees: each key gets the one algorithm that fits it (a symmetric key in a JWKS is never taken); weak keys are
refused; every KeyRefused says what to do.

Does not know: where the text came from.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from services.common.auth.claims import Key
from services.common.auth.tokens import check_secret

RSA_BITS_MIN: Final = 2048
JWKS_KEYS_MAX: Final = 64
# What a JWK of each kind signs with here.
_JWK_ALGORITHMS: Final = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class KeyRefused(ValueError):
    """This text holds no key that can be used."""


def secret_of(text: bytes) -> bytes:
    """The shared secret in a file's text, which is all of it but its trailing newline."""
    try:
        return check_secret(text.removesuffix(b"\n").removesuffix(b"\r"))
    except ValueError as error:
        raise KeyRefused(str(error)) from None


def secret_key(text: bytes) -> Key:
    """The HS256 key of a secret file's text."""
    return Key("HS256", secret_of(text))


def public_key(text: bytes) -> Key:
    """The key of a PEM file: Ed25519, RSA (2048 bits or more) or EC P-256."""
    if b"PRIVATE KEY-----" in text:
        raise KeyRefused("this is a private key: give the nodes the public one only")
    try:
        material = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused("this is not a public key in PEM: it begins with -----BEGIN PUBLIC KEY-----") from None
    return Key(_algorithm_of(material), material)


def jwks_keys(text: bytes, algorithms: Collection[str]) -> Sequence[Key]:
    """The keys of a JWKS document that sign with one of the algorithms; others in it are passed over."""
    if not algorithms:
        raise KeyRefused("a key set holds public keys: put RS256, ES256 or EdDSA on the allow-list")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise KeyRefused("the key set is not JSON: give a JWKS, an object with an array `keys`") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise KeyRefused("the key set is not a JWKS: it needs an array `keys`")
    if len(listed) > JWKS_KEYS_MAX:
        raise KeyRefused(
            f"the key set has {len(listed)} keys, {JWKS_KEYS_MAX} are taken: remove those that no longer sign"
        )
    keys = [key for jwk in listed if (key := _of_jwk(jwk)) is not None and key.algorithm in algorithms]
    if not keys:
        raise KeyRefused(
            f"the key set has no key for {', '.join(sorted(algorithms))}: add one, or allow that of those in it"
        )
    return tuple(keys)


def _of_jwk(jwk: object) -> Key | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    kind, curve, kid = jwk.get("kty"), jwk.get("crv"), jwk.get("kid")
    if not isinstance(kind, str) or not isinstance(curve, str | None) or not isinstance(kid, str | None):
        return None
    algorithm = _JWK_ALGORITHMS.get((kind, curve))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm:
        return None
    public = {name: value for name, value in jwk.items() if name not in {"d", "p", "q", "dp", "dq", "qi", "oth"}}
    try:
        material: Any = PyJWK.from_dict(public, algorithm).key
        return Key(_algorithm_of(material), material, kid)
    except (PyJWTError, KeyRefused, ValueError, TypeError):
        return None


def _algorithm_of(material: object) -> str:
    match material:
        case Ed25519PublicKey():
            return "EdDSA"
        case RSAPublicKey():
            if material.key_size < RSA_BITS_MIN:
                raise KeyRefused(f"this RSA key has {material.key_size} bits: it needs at least {RSA_BITS_MIN}")
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(material.curve, SECP256R1):
            return "ES256"
        case _:
            raise KeyRefused("this kind of key is not supported: use Ed25519, RSA or EC P-256")
