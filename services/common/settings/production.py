"""What makes settings unsafe beyond one machine: the rules of `profile = production`.

Each rule gives its objections: the name of the setting, and what is wrong and what to do. A node asks all of them
before it starts and tells all objections at once.

Guarantees: no value of a secret is in an objection. Does not know: settings classes, other profiles.
"""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

SECRET_BYTES_MIN: Final = 32
DISTINCT_BYTES_MIN: Final = 10
PLACEHOLDERS: Final = ("change", "secret", "password", "example", "default", "insecure", "testing", "tidings")
LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost"})


class Objection(NamedTuple):
    """`name` of a setting."""

    name: str
    advice: str


def of_secret_file(name: str, file: Path | str | None) -> Iterator[Objection]:
    """A secret must be long, random and nobody else's."""
    if not file:
        return
    yield from of_private_file(name, file)
    try:
        text = Path(file).read_bytes().rstrip(b"\r\n")
    except OSError as error:
        yield Objection(name, f"the file cannot be read ({error.strerror}): name one that this process may read")
        return
    if len(text) < SECRET_BYTES_MIN:
        yield Objection(name, f"it has {len(text)} bytes: make one of {SECRET_BYTES_MIN} or more random bytes")
    elif len(set(text)) < DISTINCT_BYTES_MIN or any(word in text.decode("latin-1").lower() for word in PLACEHOLDERS):
        yield Objection(
            name, "it looks like a placeholder, not like a secret: make a random one (`openssl rand -base64 48`)"
        )


def of_private_file(name: str, file: Path | str | None) -> Iterator[Objection]:
    """What only this process's user, or its group, may read."""
    if not file:
        return
    try:
        mode = Path(file).stat().st_mode
    except OSError:
        return  # that it cannot be read is told by whoever reads it
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        yield Objection(name, "everybody on this machine may read or write the file: `chmod o-rwx` it")


def of_ops_address(host: str) -> Iterator[Objection]:
    """The ops port has no login and shows the node's inside."""
    if host in LOOPBACK_NAMES:
        return
    why = "it has no login: listen on loopback, or on the pod's or machine's private address"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        yield Objection("ops_listen", f"{host} is a name, whose address may be anybody's to reach; {why}")
        return
    if address.is_unspecified:
        yield Objection("ops_listen", f"it listens on every address, public ones too; {why}")
    elif address.is_global:
        yield Objection("ops_listen", f"{host} is a public address; {why}")


def of_etcd(endpoints: Iterable[str], *, tls: bool) -> Iterator[Objection]:
    """Who can write in etcd decides who gets the messages."""
    if not tls and not all(map(is_loopback, endpoints)):
        yield Objection("etcd_tls_ca_file", f"etcd is spoken to without TLS: set it{OR_ALLOW}")


def of_kafka(bootstrap: Iterable[str], security: str) -> Iterator[Objection]:
    """Messages go through Kafka as they are."""
    if security not in {"ssl", "sasl_ssl"} and not all(map(is_loopback, bootstrap)):
        yield Objection("kafka_security", f"Kafka is spoken to without TLS: say ssl or sasl_ssl{OR_ALLOW}")


def of_mongodb(uri: str, *, plaintext_allowed: bool) -> Iterator[Objection]:
    """All messages lie there."""
    try:
        parts = urlsplit(uri)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        local = all(is_loopback(unquote(host)) for host in hosts)
    except ValueError:
        yield Objection(
            "mongodb_uri", "it cannot be read as an address: write mongodb://user:password@host:port/?tls=true"
        )
        return
    options = {name.lower(): values[-1] for name, values in parse_qs(parts.query).items()}
    yield from of_private_file("mongodb_uri", options.get("tlscertificatekeyfile"))
    if local:
        return
    encrypted = options.get("tls", options.get("ssl", str(parts.scheme == "mongodb+srv"))).lower() == "true"
    if not encrypted and not plaintext_allowed:
        yield Objection("mongodb_uri", f"MongoDB is spoken to without TLS: add tls=true to its options{OR_ALLOW}")
    loose = [
        name
        for name in ("tlsInsecure", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames")
        if options.get(name.lower(), "").lower() == "true"
    ]
    if loose:
        yield Objection("mongodb_uri", f"{', '.join(loose)} lets anybody be MongoDB: leave it out and give tlsCAFile")
    if "@" not in parts.netloc and options.get("authmechanism", "").upper() != "MONGODB-X509":
        yield Objection("mongodb_uri", "MongoDB is used without a login: give a user and password, or MONGODB-X509")


def of_url(name: str, url: str) -> Iterator[Objection]:
    """What is fetched from there, or told to it, must not be changed or read on the way."""
    parts = urlsplit(url)
    if url and parts.scheme != "https" and not _is_loopback_host(parts.hostname or ""):
        yield Objection(name, "it is not https: what it says could be changed on the way")


def is_loopback(address: str) -> bool:
    """Whether the address, host:port, is of this machine alone; a socket in the file system counts."""
    if address.startswith("/"):
        return True
    return _is_loopback_host((urlsplit(f"//{address}").hostname or "") if address else "")


def _is_loopback_host(host: str) -> bool:
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


OR_ALLOW: Final = ", or set plaintext_backends if the network is nobody else's or is encrypted underneath"
