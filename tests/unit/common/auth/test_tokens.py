"""Each way in which a token can be right or wrong."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from services.common.auth.claims import Key
from services.common.auth.token_keys import KeyRefused, jwks_keys, public_key, secret_key, secret_of
from services.common.auth.tokens import TokenRefused, TokenVerifier, UnknownKey, sign

NOW = 1_700_000_000.0
SECRET = b"a secret that is long enough for anybody"
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(7, ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE: dict[str, Any] = {"EdDSA": ED25519, "ES256": P256, "RS256": RSA, "HS256": SECRET}
ASYMMETRIC = ["EdDSA", "ES256", "RS256"]


def pem(private: Any) -> bytes:
    encoded: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; None takes a claim away."""
    good = {"sub": "alice", "aud": "local", "exp": NOW + 60, **changes}
    return {name: value for name, value in good.items() if value is not None}


def token(algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), PRIVATE[algorithm], algorithm=algorithm, headers=headers)


def verifier(*keys: Key, algorithms: tuple[str, ...] = ("HS256", "EdDSA", "RS256", "ES256")) -> TokenVerifier:
    return TokenVerifier("local", lambda: keys or (secret_key(SECRET),), algorithms=algorithms)


def refusal(text: str, *keys: Key, now: float = NOW) -> TokenRefused:
    with pytest.raises(TokenRefused) as refused:
        verifier(*keys).verify(text, now)
    assert refused.value.code == "UNAUTHENTICATED"
    return refused.value


def raw(header: dict[str, Any], payload: bytes, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), payload, signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def hs256(payload: bytes, header: dict[str, Any] | None = None, secret: bytes = SECRET) -> str:
    """A token with a right signature over any payload."""
    unsigned = raw(header or {"alg": "HS256"}, payload).rsplit(".", 1)[0]
    signature = hmac.digest(secret, unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


# ---- right


def test_what_sign_makes_is_good_until_it_runs_out() -> None:
    found = verifier().verify(sign(SECRET, "alice", "local", 60, now=NOW), NOW)

    assert (found.user, found.expires_at, found.ends_at) == ("alice", NOW + 60, NOW + 70)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_in_pem_checks_its_own_algorithm(algorithm: str) -> None:
    key = public_key(pem(PRIVATE[algorithm]))

    assert key.algorithm == algorithm
    assert verifier(key).verify(token(algorithm), NOW).user == "alice"


def test_the_audience_may_be_one_of_a_list() -> None:
    assert verifier().verify(token(aud=["other", "local"]), NOW).user == "alice"


@pytest.mark.parametrize("change", [{"nbf": NOW + 9}, {"iat": NOW + 9}, {"exp": NOW - 9}, {"exp": NOW + 0.5}])
def test_clocks_may_differ_by_ten_seconds(change: dict[str, Any]) -> None:
    assert verifier().verify(token(**change), NOW).user == "alice"


def test_an_end_in_the_far_future_is_cut_to_one_that_timers_can_hold() -> None:
    assert verifier().verify(hs256(json.dumps(claims(exp=10**400)).encode()), NOW).ends_at < 1e12


# ---- wrong


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"exp": None}, "no `exp`"),
        ({"exp": "soon"}, "`exp` is not a number"),
        ({"exp": True}, "`exp` is not a number"),
        ({"exp": float("nan")}, "`exp` is not a number"),
        ({"exp": None, "aud": None}, "no `aud`"),
        ({"aud": None}, "no `aud`"),
        ({"aud": "other"}, "for another cluster"),
        ({"aud": ["other"]}, "for another cluster"),
        ({"aud": []}, "for another cluster"),
        ({"aud": {"local": 1}}, "for another cluster"),
        ({"aud": "local2"}, "for another cluster"),
        ({"sub": None}, "`sub` is not a user id"),
        ({"sub": "a b"}, "`sub` is not a user id"),
        ({"sub": ""}, "`sub` is not a user id"),
        ({"sub": 7}, "`sub` is not a user id"),
        ({"sub": "tidings"}, "`sub` is not a user id"),
        ({"sub": "x" * 65}, "`sub` is not a user id"),
        ({"nbf": NOW + 11}, "not valid yet"),
        ({"nbf": "later"}, "`nbf` is not a number"),
        ({"iat": NOW + 11}, "in the future"),
        ({"iat": [1]}, "`iat` is not a number"),
    ],
)
def test_each_wrong_claim_is_said(change: dict[str, Any], words: str) -> None:
    refused = refusal(hs256(json.dumps(claims(**change)).encode()))

    assert refused.close_code == 4500
    assert words in refused.reason


@pytest.mark.parametrize("exp", [NOW - 10, NOW - 10_000, 0, -(10**30)])
def test_a_token_that_ran_out_is_told_from_a_wrong_one(exp: float) -> None:
    refused = refusal(token(exp=exp))

    assert refused.close_code == 4506
    assert "run out" in refused.reason


@pytest.mark.parametrize("change", [{"aud": "other"}, {"sub": "tidings"}, {"nbf": NOW + 100}])
def test_a_token_that_ran_out_and_is_wrong_besides_is_wrong(change: dict[str, Any]) -> None:
    assert refusal(token(exp=NOW - 100, **change)).close_code == 4500


def test_a_token_that_ran_out_with_a_wrong_signature_is_wrong() -> None:
    assert refusal(hs256(json.dumps(claims(exp=0)).encode(), secret=b"x" * 32)).close_code == 4500


def test_another_secret_is_refused() -> None:
    assert (
        "signature" in refusal(hs256(json.dumps(claims()).encode(), secret=b"another secret, also long enough")).reason
    )


def test_a_changed_payload_is_refused() -> None:
    head, _, tail = token().split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(sub="bob")).encode()).rstrip(b"=").decode()

    assert "signature" in refusal(f"{head}.{forged}.{tail}").reason


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS512", "HS384", "RS512", "PS256", None, 5, ["HS256"]]
)
def test_algorithms_off_the_list_are_refused(algorithm: object) -> None:
    payload = json.dumps(claims()).encode()

    assert "is signed with" in refusal(raw({"alg": algorithm}, payload)).reason
    assert "is signed with" in refusal(hs256(payload, {"alg": algorithm})).reason


def test_a_header_without_an_algorithm_is_refused() -> None:
    assert "is signed with" in refusal(hs256(json.dumps(claims()).encode(), {"typ": "JWT"})).reason


def test_an_algorithm_that_the_operator_does_not_allow_is_refused() -> None:
    only_ed25519 = verifier(secret_key(SECRET), algorithms=("EdDSA",))

    with pytest.raises(TokenRefused, match="allowed are EdDSA"):
        only_ed25519.verify(token(), NOW)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_is_never_taken_as_a_shared_secret(algorithm: str) -> None:
    text = pem(PRIVATE[algorithm])
    forged = hs256(json.dumps(claims()).encode(), secret=text)

    assert isinstance(refusal(forged, public_key(text)), UnknownKey)
    with pytest.raises(KeyRefused, match="PEM"):
        secret_key(text)


def test_a_token_for_one_kind_of_key_is_not_tried_with_another() -> None:
    assert isinstance(refusal(token("RS256"), secret_key(SECRET), public_key(pem(P256))), UnknownKey)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "..",
        "é.é.é",
        "a" * 20_000,
        raw({"alg": "HS256"}, b"not json"),
        hs256(b"not json"),
        hs256(b"[]"),
        hs256(b"\xff"),
        hs256(b"[" * 12_000 + b"]" * 10),
        hs256(json.dumps(claims()).encode(), {"alg": "HS256", "crit": ["x"], "x": 1}),
        hs256(json.dumps(claims()).encode(), {"alg": "HS256", "b64": False, "crit": ["b64"]}),
    ],
)
def test_what_is_no_token_is_refused_with_a_sentence(text: str) -> None:
    refused = refusal(text)

    assert refused.close_code == 4500
    assert len(refused.reason) < 200


# ---- keys


def test_a_secret_is_the_text_of_its_file_without_the_trailing_newline() -> None:
    assert secret_of(SECRET + b"\n") == secret_of(SECRET + b"\r\n") == SECRET
    assert secret_of(b" " * 32 + b"\n\n") == b" " * 32 + b"\n"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(KeyRefused, match="31 bytes: it needs at least 32"):
        secret_of(b"x" * 31 + b"\n")
    with pytest.raises(ValueError, match="at least 32"):
        sign(b"short", "alice", "local", 60, now=NOW)


def test_no_token_is_signed_for_a_name_that_no_user_has() -> None:
    with pytest.raises(ValueError, match="user id"):
        sign(SECRET, "tidings", "local", 60, now=NOW)


def test_a_private_key_and_garbage_are_refused_as_public_keys() -> None:
    private = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyRefused, match="private key"):
        public_key(private)
    with pytest.raises(KeyRefused, match="BEGIN PUBLIC KEY"):
        public_key(b"garbage")


def test_weak_and_unsupported_keys_are_refused() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(KeyRefused, match="2048"):
        public_key(pem(weak))
    with pytest.raises(KeyRefused, match="P-256"):
        public_key(pem(ec.derive_private_key(7, ec.SECP384R1())))


def test_a_key_does_not_print_its_secret() -> None:
    assert "secret" not in repr(secret_key(SECRET))


# ---- JWKS


def jwk(algorithm: str, **changes: Any) -> dict[str, Any]:
    public = PRIVATE[algorithm].public_key()
    if algorithm == "RS256":
        shown = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif algorithm == "ES256":
        shown = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        shown = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**shown, **changes}


def jwks(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_a_key_set_gives_each_key_its_algorithm_and_id() -> None:
    text = jwks(*(jwk(algorithm, kid=f"k-{algorithm}") for algorithm in ASYMMETRIC))
    keys = jwks_keys(text, ASYMMETRIC)

    assert [(key.algorithm, key.kid) for key in keys] == [(algorithm, f"k-{algorithm}") for algorithm in ASYMMETRIC]
    for algorithm in ASYMMETRIC:
        assert verifier(*keys).verify(token(algorithm, {"kid": f"k-{algorithm}"}), NOW).user == "alice"
        assert verifier(*keys).verify(token(algorithm), NOW).user == "alice"


def test_a_token_with_a_key_id_that_is_not_in_the_set_asks_for_another_look() -> None:
    keys = jwks_keys(jwks(jwk("EdDSA", kid="old")), ASYMMETRIC)

    assert isinstance(refusal(token("EdDSA", {"kid": "new"}), *keys), UnknownKey)


def test_of_several_keys_with_one_algorithm_the_right_one_is_found() -> None:
    other = Key("EdDSA", ed25519.Ed25519PrivateKey.from_private_bytes(b"x" * 32).public_key())

    assert verifier(other, public_key(pem(ED25519))).verify(token("EdDSA"), NOW).user == "alice"


@pytest.mark.parametrize(
    "useless",
    [
        {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET).decode(), "alg": "HS256"},
        jwk("RS256", use="enc"),
        jwk("RS256", alg="RS512"),
        jwk("ES256", crv="P-384"),
        jwk("EdDSA", x="AA"),
        jwk("EdDSA", kid=5),
        jwk("RS256", n=5),
        {"kty": ["RSA"]},
        {},
        "key",
    ],
)
def test_keys_that_cannot_be_used_are_passed_over(useless: object) -> None:
    assert len(jwks_keys(jwks(useless, jwk("EdDSA")), ASYMMETRIC)) == 1
    with pytest.raises(KeyRefused, match="no key for"):
        jwks_keys(jwks(useless), ASYMMETRIC)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys":{}}', b"[" * 100_000, jwks(*[{}] * 65)])
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(KeyRefused):
        jwks_keys(text, ASYMMETRIC)


def test_an_unknown_algorithm_on_the_allow_list_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="none"):
        verifier(algorithms=("HS256", "none"))


@pytest.mark.parametrize("algorithm", sorted(PRIVATE))
def test_a_token_that_was_found_good_is_known_until_it_ends_or_its_key_is_withdrawn(algorithm: str) -> None:
    key = secret_key(SECRET) if algorithm == "HS256" else public_key(pem(PRIVATE[algorithm]))
    keys = [key]
    check, text = TokenVerifier("local", lambda: keys), token(algorithm)
    assert check.known(text, NOW) is None
    claims_ = check.verify(text, NOW)
    assert (check.known(text, NOW), check.verify(text, NOW)) == (claims_, claims_)
    with pytest.raises(TokenRefused) as expired:
        check.verify(text, NOW + 3600)
    assert expired.value.close_code == 4506
    assert check.verify(text, NOW) == claims_
    keys.clear()
    assert check.known(text, NOW) is None
    with pytest.raises(UnknownKey):
        check.verify(text, NOW)


def test_a_token_that_was_refused_is_not_known_and_neither_is_one_that_differs_in_its_last_character() -> None:
    check, text = verifier(), token()
    forged = text[:-2] + ("AA" if not text.endswith("AA") else "BA")
    check.verify(text, NOW)
    for _ in range(2):
        assert check.known(forged, NOW) is None
        with pytest.raises(TokenRefused):
            check.verify(forged, NOW)


def test_a_public_key_of_any_form_is_no_secret() -> None:
    for text in (b"ssh-ed25519 " + base64.b64encode(bytes(51)), json.dumps({"kty": "RSA", "n": "x" * 40}).encode()):
        with pytest.raises(KeyRefused, match="public key"):
            secret_key(text)
