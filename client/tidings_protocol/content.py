"""The shape of what a client sends: content, client ids, signals.

Guarantees: pure; access checks a frame with these before it goes on, logic again what a hook or the operator made of
it, so all refuse the same things with the same words. What `encode_content` gives can be read wherever it will lie: in
every frame, page, list and event. protobuf reads a hundred levels and keeps fields that it does not know, so a hostile
client could nest them so deeply that the door reads the frame and nobody ever the page, where a content lies two levels
deeper. So nothing is stored that this version does not know; of what it knows nothing holds its own kind (a test says).

Does not know: who may send where, whether a `reply_to` exists, whom a mention reaches, whether media are there, the
size of a whole frame.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TooLarge
from tidings_protocol.ids import check_user
from tidings_protocol.wire.varint import length_delimited_tag, read_varint

CLIENT_ID_BYTES_MAX = 64
# Client ids of the notices of changes begin so, and no client's may: else somebody could take a notice's place.
NOTICE_PREFIX = "~op "
# Those of entries that the cluster makes by itself, which are shown without one.
OWN_PREFIX = "~own "
HEADERS_MAX = 16
HEADERS_BYTES_MAX = 4096
MIME_BYTES_MAX = 255
SIGNAL_DATA_BYTES_MAX = 1024
SIGNAL_NAME_BYTES_MAX = 64
# Said to whoever is blocked by the one that something is for.
BLOCKED = "this user does not take messages from you: leave it at that"
MENTIONS_MAX = 50
MEDIA_MAX = 10
MEDIA_ID_BYTES_MAX = 128
MEDIA_NAME_BYTES_MAX = 255
MEDIA_PREVIEW_BYTES_MAX = 200
EXPIRE_AFTER_S_MAX = 365 * 86_400
_BODY_TAGS = frozenset(length_delimited_tag(client_pb2.Content, field)[0] for field in ("text", "data"))
# What an encoded content may have beside its text or data: headers, mime, mentions and media, with their tags and
# lengths.
CONTENT_EXTRA_BYTES = 20_480


def check_client_id(client_id: str) -> None:
    """BadRequest unless it is 1 to 64 bytes of UTF-8, and none that the cluster itself may give."""
    if not 1 <= len(client_id.encode()) <= CLIENT_ID_BYTES_MAX:
        raise BadRequest(f"client_id must have 1 to {CLIENT_ID_BYTES_MAX} bytes: make one for each message and keep it")
    if client_id.startswith((NOTICE_PREFIX, OWN_PREFIX)):
        raise BadRequest(f"client_id must not begin with `{NOTICE_PREFIX}` or `{OWN_PREFIX}`: make another one")


def notice_client_id(op: str, index: int) -> str:
    """The client id of a notice of the change with this op."""
    return f"{NOTICE_PREFIX}{op}.{index}" if index else NOTICE_PREFIX + op


def check_content(content: client_pb2.Content, content_bytes_max: int) -> None:
    """BadRequest if there is nothing in it, TooLarge if there is too much.

    The size of the content is that of its text in UTF-8 or of its data; all else has limits of its own. A content with
    media may be without a text, and so may one that is `streaming`, whose text is to come.
    """
    _check_body(content, content_bytes_max)
    _check_rest(content)


def encode_content(content: client_pb2.Content, content_bytes_max: int) -> bytes:
    """The one way of a content into the cluster, whoever gave it: checked, and encoded without unknown fields.

    They are taken out of `content` too. Raises BadRequest or TooLarge.
    """
    _check_body(content, content_bytes_max)
    # 0.07 µs (measured).
    content.DiscardUnknownFields()
    encoded = content.SerializeToString()
    if not is_body_alone(encoded):
        _check_rest(content)
    if len(encoded) > content_bytes_max + CONTENT_EXTRA_BYTES:
        raise TooLarge(
            f"the content has {len(encoded)} bytes with all that belongs to it, "
            f"{content_bytes_max + CONTENT_EXTRA_BYTES} are allowed: send it in parts or as a link"
        )
    return encoded


def is_body_alone(encoded: bytes) -> bool:
    """Whether an encoded content has a text or data and nothing else, as nearly all have: told by its first bytes.

    To ask each of the fields costs six times as much (0.7 µs, measured). A false "no" costs that, and nothing more.
    """
    if len(encoded) < 2 or encoded[0] not in _BODY_TAGS:
        return False
    size, at = (encoded[1], 2) if encoded[1] < 0x80 else read_varint(encoded, 1)
    return len(encoded) == at + size


def stored_content(encoded: bytes) -> bytes:
    """A content that was stored by whichever version, as it may go on: without fields that are not known here; empty if
    it cannot be read at all.
    """
    content = client_pb2.Content()
    try:
        content.ParseFromString(encoded)
    except DecodeError:
        return b""
    content.DiscardUnknownFields()
    return content.SerializeToString()


def check_part(part: client_pb2.StreamPart, content_bytes_max: int) -> None:
    """BadRequest for a part that names no place, TooLarge for more text than a whole message may have."""
    if not part.seq:
        raise BadRequest("a stream_part needs the `seq` of its message: take it from the `sent` of that")
    if not part.part:
        raise BadRequest("the parts of a stream are 1, 2, 3 …: give the `part` its number")
    size = len(part.text.encode())
    if size > content_bytes_max:
        raise TooLarge(f"the part has {size} bytes, {content_bytes_max} are allowed in the whole text: send less")


def check_signal(name: str, data: bytes) -> None:
    """TooLarge if the data has more than 1 KiB, BadRequest for a name that is too long."""
    if len(data) > SIGNAL_DATA_BYTES_MAX:
        raise TooLarge(f"a signal's data has {len(data)} bytes, {SIGNAL_DATA_BYTES_MAX} are allowed: send a message")
    if len(name.encode()) > SIGNAL_NAME_BYTES_MAX:
        raise BadRequest(f"a signal's name must have at most {SIGNAL_NAME_BYTES_MAX} bytes: give it a shorter one")


def _check_body(content: client_pb2.Content, content_bytes_max: int) -> None:
    match content.WhichOneof("body"):
        case "text":
            size = len(content.text.encode())
        case "data":
            size = len(content.data)
        case _:
            size = 0
    if size == 0 and not content.streaming and not content.media:
        raise BadRequest("the content is empty: give it a text or data")
    if size > content_bytes_max:
        raise TooLarge(f"the content has {size} bytes, {content_bytes_max} are allowed: send it in parts or as a link")


def _check_rest(content: client_pb2.Content) -> None:
    if len(content.mime.encode()) > MIME_BYTES_MAX:
        raise TooLarge(f"mime must have at most {MIME_BYTES_MAX} bytes: name the type without what is not needed")
    if content.headers:
        _check_headers(content)
    if content.expire_after_s > EXPIRE_AFTER_S_MAX:
        raise BadRequest(f"expire_after_s is at most a year ({EXPIRE_AFTER_S_MAX}): give less, or leave it out")
    if len(content.mentions) > MENTIONS_MAX:
        raise BadRequest(
            f"{len(content.mentions)} users are mentioned, {MENTIONS_MAX} are allowed: leave some out, or use "
            "mention_all"
        )
    for user in content.mentions:
        check_user(user)
    has_data = content.HasField("data")
    if content.streaming and has_data:
        raise BadRequest("a content that is streaming grows as text: send data without streaming")
    if content.media:
        if has_data:
            raise BadRequest("media go with a text or alone: send data in a message of its own")
        _check_media(content)


def _check_media(content: client_pb2.Content) -> None:
    if len(content.media) > MEDIA_MAX:
        raise BadRequest(f"there are {len(content.media)} media, {MEDIA_MAX} are allowed: send some in another message")
    for media in content.media:
        for id_ in (media.id, media.thumbnail):
            if len(id_.encode()) > MEDIA_ID_BYTES_MAX:
                raise BadRequest("a media id is too long to be one: give the id of an upload_grant")
        if not media.id:
            raise BadRequest("media without an id: give each the id of its upload_grant")
        if len(media.name.encode()) > MEDIA_NAME_BYTES_MAX or len(media.mime.encode()) > MIME_BYTES_MAX:
            raise TooLarge(f"a media's name and mime have at most {MEDIA_NAME_BYTES_MAX} bytes each: give shorter ones")
        if len(media.preview) > MEDIA_PREVIEW_BYTES_MAX:
            raise TooLarge(
                f"a media's preview has {len(media.preview)} bytes, {MEDIA_PREVIEW_BYTES_MAX} are allowed: give a "
                "smaller one"
            )


def _check_headers(content: client_pb2.Content) -> None:
    if len(content.headers) > HEADERS_MAX:
        raise TooLarge(f"there are {len(content.headers)} headers, {HEADERS_MAX} are allowed: leave some out")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in content.headers.items())
    if size > HEADERS_BYTES_MAX:
        raise TooLarge(
            f"the headers have {size} bytes together, {HEADERS_BYTES_MAX} are allowed: put more into the content"
        )
