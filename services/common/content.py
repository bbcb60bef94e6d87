"""The shape of what a client sends: content, client ids, signals.

Guarantees: pure; access checks a frame with these before it goes on, logic again what a hook made of it, so both refuse
the same things with the same words.

Does not know: who may send where, whether a `reply_to` exists, the size of a whole frame.
"""

from __future__ import annotations

from protos.tidings.v1 import client_pb2
from services.common.errors import BadRequest, TooLarge

CLIENT_ID_BYTES_MAX = 64
# Client ids of the notices of changes begin so, and no client's may: else somebody could take a notice's place.
NOTICE_PREFIX = "~op "
HEADERS_MAX = 16
HEADERS_BYTES_MAX = 4096
MIME_BYTES_MAX = 255
SIGNAL_DATA_BYTES_MAX = 1024
SIGNAL_NAME_BYTES_MAX = 64


def check_client_id(client_id: str) -> None:
    """BadRequest unless it is 1 to 64 bytes of UTF-8, and none that a notice may have."""
    if not 1 <= len(client_id.encode()) <= CLIENT_ID_BYTES_MAX:
        raise BadRequest(f"client_id must have 1 to {CLIENT_ID_BYTES_MAX} bytes: make one for each message and keep it")
    if client_id.startswith(NOTICE_PREFIX):
        raise BadRequest(f"client_id must not begin with `{NOTICE_PREFIX}`: make another one")


def notice_client_id(op: str, index: int) -> str:
    """The client id of a notice of the change with this op."""
    return f"{NOTICE_PREFIX}{op}.{index}" if index else NOTICE_PREFIX + op


def check_content(content: client_pb2.Content, content_bytes_max: int) -> None:
    """BadRequest if there is nothing in it, TooLarge if there is too much.

    The size of the content is that of its text in UTF-8 or of its data; headers have a limit of their own.
    """
    match content.WhichOneof("body"):
        case "text":
            size = len(content.text.encode())
        case "data":
            size = len(content.data)
        case _:
            size = 0
    if size == 0:
        raise BadRequest("the content is empty: give it a text or data")
    if size > content_bytes_max:
        raise TooLarge(f"the content has {size} bytes, {content_bytes_max} are allowed: send it in parts or as a link")
    if len(content.mime.encode()) > MIME_BYTES_MAX:
        raise TooLarge(f"mime may have {MIME_BYTES_MAX} bytes")
    if content.headers:
        _check_headers(content)


def check_signal(name: str, data: bytes) -> None:
    """TooLarge if the data has more than 1 KiB, BadRequest for a name that is too long."""
    if len(data) > SIGNAL_DATA_BYTES_MAX:
        raise TooLarge(f"a signal's data has {len(data)} bytes, {SIGNAL_DATA_BYTES_MAX} are allowed: send a message")
    if len(name.encode()) > SIGNAL_NAME_BYTES_MAX:
        raise BadRequest(f"a signal's name may have {SIGNAL_NAME_BYTES_MAX} bytes")


def _check_headers(content: client_pb2.Content) -> None:
    if len(content.headers) > HEADERS_MAX:
        raise TooLarge(f"there are {len(content.headers)} headers, {HEADERS_MAX} are allowed")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in content.headers.items())
    if size > HEADERS_BYTES_MAX:
        raise TooLarge(f"the headers have {size} bytes together, {HEADERS_BYTES_MAX} are allowed")
