"""The options of the rooms: what each of them is told of the settings, in its own words.

Does not know: who reads them.
"""

from __future__ import annotations

import math
from typing import Final

from services.access.handshake.handshake import HandshakeOptions
from services.access.requests.requests import RequestOptions
from services.access.session.heartbeat import HeartbeatPolicy
from services.access.session.limits import LimitPolicy
from services.access.session.session import SessionPolicy
from services.access.settings import AccessSettings
from services.common.auth.token_source import KeySources
from tidings_protocol import client_pb2

CALL_BYTES_MAX: Final = 14 * 1024 * 1024
PAGE_BYTES: Final = 2 * 131_072  # more than a page of 128 KiB takes within an answer


def key_sources(settings: AccessSettings) -> KeySources:
    """Where the keys come from that tokens are checked with."""
    return KeySources(
        secret_file=settings.token_secret_file,
        public_key_file=settings.token_public_key_file,
        jwks_file=settings.token_jwks_file,
        jwks_url=settings.token_jwks_url,
    )


def session_policy(settings: AccessSettings) -> SessionPolicy:
    """What the session of a connection goes by."""
    return SessionPolicy(
        heartbeat=HeartbeatPolicy(
            interval_s=settings.heartbeat_s,
            mobile_interval_s=settings.mobile_heartbeat_s,
            idle_interval_s=settings.idle_heartbeat_s,
            idle_after_s=settings.idle_after_s,
            probe_gap_s=settings.probe_gap_s,
        ),
        limits=LimitPolicy(
            sends_per_s=settings.sends_per_s,
            sends_burst=2 * settings.sends_per_s,
            parts_per_s=settings.parts_per_s,
            frames_per_s=settings.frames_per_s,
            bytes_per_s=settings.bytes_per_s,
            refused_per_window=settings.refused_per_minute,
            reconnects_per_window=settings.hellos_per_minute,
            ban_s=settings.ban_s,
        ),
        handshake_s=settings.handshake_s,
        linger_s=settings.linger_s,
        unanswered_max=settings.unanswered_max,
        pages_max=settings.pages_max,
        held_max=settings.unanswered_max,
        held_bytes_max=2 * settings.frame_bytes_max,
        ack_timeout_s=settings.ack_timeout_s,
    )


def request_options(settings: AccessSettings) -> RequestOptions:
    """What requests go by; those of one call fit into it, also if all are the largest frames, or all answers pages."""
    return RequestOptions(
        content_bytes_max=settings.content_bytes_max,
        send_lanes=settings.send_lanes,
        request_lanes=settings.request_lanes,
        capacity=settings.lane_capacity,
        send_answer_s=settings.send_answer_ms / 1000,
        send_batch_max=settings.batch_max,
        request_batch_max=max(1, CALL_BYTES_MAX // max(settings.frame_bytes_max, PAGE_BYTES)),
    )


def handshake_options(settings: AccessSettings) -> HandshakeOptions:
    """What hellos and welcomes go by."""
    return HandshakeOptions(
        heartbeat_s=session_policy(settings).heartbeat.interval_of,
        idle_heartbeat_s=settings.idle_heartbeat_s,
        limits=client_pb2.Limits(
            frame_bytes_max=settings.frame_bytes_max,
            content_bytes_max=settings.content_bytes_max,
            # 0 would say that there is no limit.
            sends_per_s=round(settings.sends_per_s) or math.ceil(settings.sends_per_s),
            edit_window_s=settings.edit_window_s,
            recall_window_s=settings.recall_window_s,
            # What this version has: no media store, no search.
            media_bytes_max=0,
            search=False,
            streams=True,
            own_profile=settings.profiles_by == "user",
        ),
        backoff=client_pb2.Backoff(
            base_ms=settings.backoff_base_ms, max_ms=settings.backoff_max_ms, factor=settings.backoff_factor
        ),
        capacity=settings.handshakes_max,
        batch_max=settings.batch_max,
    )
