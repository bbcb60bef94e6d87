"""The settings of an access node: where it listens, who may come in, how much a client may do, how it leaves.

Limits that logic nodes keep are shared with these (common/settings/limits.py). Does not know: who reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.access.admission.addresses import networks
from services.common.auth.tokens import ALGORITHMS
from services.common.settings import production
from services.common.settings.limits import LimitSettings
from services.common.settings.node import Address, CommaSeparated, OptionalAddress
from services.common.settings.production import Objection
from services.common.settings.security import OptionalFile


class AccessSettings(LimitSettings):
    """Connections, sessions, limits."""

    service: ClassVar[str] = "access"

    ws_listen: Address = Field("127.0.0.1:8000", description="Where WebSocket clients connect, and /v1/route answers.")
    tcp_listen: Address = Field("127.0.0.1:8100", description="Where TCP clients connect.")
    ws_public: str = Field(
        "",
        pattern=r"^$|^wss?://\S+$",
        description="URL that clients are sent to for this node, for example wss://a1.chat.example.com/v1/ws; empty: "
        "made from `ws_listen`. Under placement `ring` clients must reach each node by its own, so it must be given "
        "when that is 0.0.0.0 or [::].",
    )
    tcp_public: OptionalAddress = Field(
        "", description="host:port that TCP clients are sent to for this node; empty: `tcp_listen`. As `ws_public`."
    )
    tls_certificate_file: OptionalFile = Field(
        None,
        description="Certificate chain (PEM) for both transports; unset: no TLS, for use behind a proxy.",
    )
    tls_key_file: OptionalFile = Field(None, description="Private key (PEM) of the certificate.")
    tls_terminated_upstream: bool = Field(
        False,
        description="Says that clients reach this node only through a proxy that speaks TLS with them: then `profile` "
        "production asks for no certificate here.",
    )
    placement: Literal["ring", "any"] = Field(
        "ring",
        description="`ring`: a client is sent to the node that owns its user, so a message has one hop less; `any`: "
        "every node serves everyone, for clients behind one load balancer.",
    )

    token_secret_file: Path | None = Field(
        None,
        description="File with the secret that HS256 tokens are signed with (32 bytes or more). Whoever reads it can "
        "sign tokens.",
    )
    token_public_key_file: Path | None = Field(
        None, description="Public key (PEM) of the tokens' issuer: Ed25519, RSA or EC P-256."
    )
    token_jwks_file: Path | None = Field(None, description="JWKS document with the issuer's public keys.")
    token_jwks_url: str = Field(
        "",
        pattern=r"^$|^https?://\S+$",
        description="Where the issuer publishes its JWKS. It is fetched again every few minutes and for an unknown key "
        "id; while it is away the last keys count.",
    )
    token_algorithms: CommaSeparated = Field(
        list(ALGORITHMS),
        min_length=1,
        description="Signatures that are accepted, comma separated. Fewer: less to be attacked.",
    )
    refused_clients: CommaSeparated = Field(
        [],
        description="Patterns of `hello.client` that are refused with 4507, comma separated, for example "
        "`acme-ios/1.*`: to retire versions that do harm.",
    )

    frame_bytes_max: int = Field(
        131_072,
        ge=1024,
        le=1_048_576,
        description="Largest frame of a client. It must hold a message's content; larger frames are refused before "
        "they are read.",
    )
    sends_per_s: float = Field(
        1000.0,
        ge=0,
        le=1_000_000,
        description="Sends a second of one connection, with a burst of twice that; above: RATE_LIMITED. All the "
        "connections of a user to this node may send four times as many together. 0: no limit.",
    )
    parts_per_s: float = Field(
        30.0,
        ge=0,
        le=100_000,
        description="Parts of streams a second of one connection, and so many at once; above: RATE_LIMITED. All the "
        "connections of a user to this node may send four times as many together. Each part goes to every member who "
        "is online. 0: no limit.",
    )
    frames_per_s: float = Field(
        5000.0,
        ge=0,
        le=10_000_000,
        description="Frames a second of one connection, over 10 s; above: RATE_LIMITED; at twice that: 4006 and a ban. "
        "0: no limit.",
    )
    bytes_per_s: float = Field(
        16_777_216.0,
        ge=0,
        le=1e12,
        description="Bytes a second of one connection, over 10 s; as `frames_per_s`. 0: no limit.",
    )
    refused_per_minute: int = Field(
        60,
        ge=0,
        le=1_000_000,
        description="BAD_FRAME, BAD_REQUEST and FORBIDDEN answers a minute of one connection; above: 4006 and a ban. "
        "0: no limit.",
    )
    hellos_per_minute: int = Field(
        120,
        ge=0,
        le=1_000_000,
        description="Sessions that one device of one user may begin a minute on this node; above: 4006 and a ban. "
        "0: no limit.",
    )
    ban_s: float = Field(
        30.0, ge=0, le=86_400, description="How long a user's device that was closed with 4006 stays away."
    )
    unanswered_max: int = Field(
        256,
        ge=1,
        le=65_536,
        description="Requests of one connection under way at once; then nothing more is read from it.",
    )
    pages_max: int = Field(
        8,
        ge=1,
        le=256,
        description="Requests for pages (sync, history, lists) of one connection under way at once: each answer may "
        "have 128 KiB.",
    )
    slow_consumer_bytes: int = Field(
        262_144,
        ge=4096,
        le=67_108_864,
        description="Bytes that may wait to be written to one connection; above, live delivery to it pauses until it "
        "has synced. Times the slow connections, this is the memory that they cost.",
    )
    socket_send_buffer_bytes: int = Field(
        65_536,
        ge=0,
        le=16_777_216,
        description="The kernel's send buffer of one connection; 0: as the system has it. Smaller: a slow client is "
        "found sooner and costs less; larger: faster pages over far links.",
    )

    connections_per_s: float = Field(
        2000.0,
        ge=0,
        le=1_000_000,
        description="New connections a second; more are answered 503 (TCP: goodbye 4003) with a retry time. Protects "
        "live traffic in a reconnect storm. 0: no limit.",
    )
    address_connections_per_s: float = Field(
        200.0,
        ge=0,
        le=1_000_000,
        description="New connections a second of one client's address (of version 6: of its /64), over 10 s; more are "
        "told to come later. Generous, since thousands may share one address; a proxy before this node must be in "
        "`trusted_proxies`, or all its clients share its own. Not for loopback addresses. 0: no limit.",
    )
    trusted_proxies: CommaSeparated = Field(
        [],
        description="Networks of the balancers and proxies before this node, comma separated, for example "
        "`10.0.0.0/8,fd00::/8`: what they say of a client's address counts (`X-Forwarded-For`, `Forwarded`, PROXY "
        "protocol 1 and 2 on both transports). Only those that write it themselves: whoever is in it may claim any "
        "address.",
    )
    handshakes_max: int = Field(
        5000,
        ge=1,
        le=1_000_000,
        description="Connections without a session at once, so that slow handshakes cost bounded memory.",
    )
    handshake_bytes_max: int = Field(
        67_108_864,
        ge=1_048_576,
        le=17_179_869_184,
        description="Bytes that all connections without a session may have sent together; more are told to come "
        "later. Each may have 32 KiB for its `hello` and as much behind it.",
    )
    connections_max: int = Field(
        200_000,
        ge=1,
        le=10_000_000,
        description="Connections of this node at once; set it to what its memory and file descriptors allow.",
    )
    handshake_s: float = Field(5.0, gt=0, le=60, description="Time for `hello` after the connection; then 4004.")
    linger_s: float = Field(
        3.0,
        gt=0,
        le=60,
        description="Time for a client to read its goodbye and what waits before it; then the connection is cut. "
        "Longer: slow clients get more of it; a client that does not answer keeps its memory for longer.",
    )

    heartbeat_s: int = Field(
        15,
        ge=1,
        le=3600,
        description="Heartbeat of web, desktop and bot clients. Shorter: a dead connection and a lost push are found "
        "sooner; more idle traffic.",
    )
    mobile_heartbeat_s: int = Field(
        30, ge=1, le=3600, description="Heartbeat of mobile clients. Shorter costs their battery."
    )
    idle_heartbeat_s: int = Field(
        120, ge=1, le=7200, description="Heartbeat of clients whose user is away, and of unused mobile clients."
    )
    idle_after_s: float = Field(300.0, gt=0, le=86_400, description="When a mobile client counts as unused.")
    probe_gap_s: float = Field(
        5.0, gt=0, le=60, description="Time between the three probes of a silent connection, and after the last."
    )
    ack_timeout_s: float = Field(
        10.0, gt=0, le=600, description="A push that was not acknowledged for this long brings one `lagging`."
    )
    ack_flush_ms: int = Field(
        100,
        ge=0,
        le=5000,
        description="How long acknowledgements gather before they go on. Longer: fewer calls; receipts come later.",
    )
    backoff_base_ms: int = Field(500, ge=1, le=600_000, description="First back-off of clients; told in the welcome.")
    backoff_max_ms: int = Field(20_000, ge=1, le=3_600_000, description="Longest back-off of clients.")
    backoff_factor: float = Field(2.0, ge=1, le=10, description="Growth of the clients' back-off.")
    watched_max: int = Field(
        500,
        ge=0,
        le=100_000,
        description="Users whose presence one connection may watch, and as many whose profiles.",
    )

    send_lanes: int = Field(
        2,
        ge=1,
        le=256,
        description="Batches of sends under way at once, at most: a second one begins when it is full. More: less "
        "waiting behind one another; fewer: larger batches, less CPU.",
    )
    request_lanes: int = Field(4, ge=1, le=256, description="Batches of other requests under way at once.")
    lane_capacity: int = Field(
        5000,
        ge=1,
        le=1_000_000,
        description="Requests that wait in one lane; one more is answered OVERLOADED. Longer: fewer refusals, later "
        "answers, more memory.",
    )
    send_answer_ms: int = Field(
        1000,
        ge=10,
        le=60_000,
        description="A send that would be answered later than this, at the present pace, is answered OVERLOADED at "
        "once. Longer: fewer refusals; under overload those that are accepted wait up to this long.",
    )
    batch_max: int = Field(
        256,
        ge=1,
        le=10_000,
        description="Most requests in one call to logic. Larger: cheaper under load; each waits for the "
        "slowest of its batch.",
    )

    moves_per_s: float = Field(
        20.0,
        gt=0,
        le=10_000,
        description="Sessions a second that are asked to move after the ring changed (placement `ring`). More: the new "
        "owner serves its users sooner; fewer: a gentler change.",
    )
    drain_pace_per_s: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Goodbyes a second while the node drains; raised if the deadline would not be met.",
    )
    session_check_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="How often the node compares the sessions that are stored under its name with the connections that "
        "it holds. Shorter: what a lost call left behind is put right sooner; each time the records of all its "
        "sessions are read.",
    )
    head_check_delay_s: float = Field(
        1.0,
        ge=0,
        le=60,
        description="After a change of the ring: how long stray messages may still arrive before the inbox heads are "
        "compared.",
    )

    group_check_s: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="Within this time the large groups of every user who is connected are compared with what storage "
        "says: the longest that somebody who was removed may still be shown a group's messages if the news of it was "
        "lost. Shorter: a read of MongoDB for each user that much more often.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.frame_bytes_max < 2 * self.content_bytes_max:
            raise ValueError("frame_bytes_max must be at least twice content_bytes_max: JSON writes data in base64")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file belong together: set both or none")
        networks(self.trusted_proxies)
        unknown = sorted(set(self.token_algorithms) - set(ALGORITHMS))
        if unknown:
            raise ValueError(f"token_algorithms has {', '.join(unknown)}: use some of {', '.join(ALGORITHMS)}")
        if not (self.token_secret_file or self.token_public_key_file or self.token_jwks_file or self.token_jwks_url):
            raise ValueError(
                "set one of token_secret_file, token_public_key_file, token_jwks_file, token_jwks_url: "
                "without a key nobody could log in"
            )
        if self.idle_heartbeat_s < max(self.heartbeat_s, self.mobile_heartbeat_s):
            raise ValueError("idle_heartbeat_s must not be below heartbeat_s and mobile_heartbeat_s")
        return self

    def told_to_others(self) -> tuple[tuple[str, str], ...]:
        told = super().told_to_others()
        if self.placement == "any":
            return told  # clients come through a balancer, and are sent nowhere
        return (*told, ("ws_listen", "ws_public"), ("tcp_listen", "tcp_public"))

    def insecurities(self) -> Iterator[Objection]:
        yield from super().insecurities()
        if self.tls_certificate_file is None and not self.tls_terminated_upstream:
            yield Objection(
                "tls_certificate_file",
                "clients' tokens and messages would be readable on the way: set it with tls_key_file, or "
                "tls_terminated_upstream if a proxy before this node speaks TLS",
            )
        yield from production.of_private_file("tls_key_file", self.tls_key_file)
        yield from production.of_secret_file("token_secret_file", self.token_secret_file)
        yield from production.of_url("token_jwks_url", self.token_jwks_url)

    @property
    def ws_address(self) -> str:
        """The URL for clients."""
        scheme = "wss" if self.tls_certificate_file else "ws"
        return self.ws_public or f"{scheme}://{self.ws_listen}/v1/ws"

    @property
    def tcp_address(self) -> str:
        """host:port for clients."""
        return self.tcp_public or self.tcp_listen
