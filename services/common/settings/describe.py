"""Settings in words: as `tidings config show` and the documentation print them.

Guarantees: secrets are never shown. Does not know: where settings are read from (sources.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pydantic.fields import FieldInfo

from services.common.settings.node import PREFIX, NodeSettings, Origin

HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `tidings config show` and the documentation print it."""

    name: str
    variable: str
    value: str
    default: str
    origin: Origin
    meaning: str
    allowed: str


def describe(settings: NodeSettings) -> list[Setting]:
    """Every setting with its value and where that came from, secrets hidden."""
    origins = settings.origins()
    unsaid: Origin = "argument"
    return [
        _setting(
            name,
            info,
            getattr(settings, name),
            origins.get(name, "default" if _is_default(info, settings, name) else unsaid),
        )
        for name, info in type(settings).model_fields.items()
    ]


def describe_class(cls: type[NodeSettings]) -> list[Setting]:
    """Every setting of a service with its default: what the documentation is made of."""
    return [
        _setting(name, info, info.get_default(call_default_factory=True, validated_data={}), "default")
        for name, info in cls.model_fields.items()
    ]


def _is_default(info: FieldInfo, settings: NodeSettings, name: str) -> bool:
    return not info.is_required() and bool(getattr(settings, name) == info.default)


def _setting(name: str, info: FieldInfo, value: object, origin: Origin) -> Setting:
    default = (
        "(required)"
        if info.is_required()
        else _shown(info, info.get_default(call_default_factory=True, validated_data={}))
    )
    return Setting(
        name=name,
        variable=PREFIX + name.upper(),
        value="(required)" if origin == "default" and info.is_required() else _shown(info, value),
        default=default,
        origin=origin,
        meaning=info.description or "",
        allowed=_allowed(info),
    )


def is_secret(info: FieldInfo) -> bool:
    return isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get("secret"))


def _shown(info: FieldInfo, value: object) -> str:
    if is_secret(info):
        return without_password(str(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return str(value)


def without_password(value: str) -> str:
    """An address stays readable, all that could be secret in it does not."""
    if not value:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return HIDDEN
    if not parts.scheme or not parts.netloc:
        return HIDDEN
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + (
        f"/{HIDDEN}" if "@" in parts.netloc or parts.query else parts.path
    )


def _allowed(info: FieldInfo) -> str:
    """The limits in words: from the type's choices and the bounds of the field."""
    choices = (
        getattr(info.annotation, "__args__", ()) if getattr(info.annotation, "__origin__", None) is Literal else ()
    )
    if choices:
        return " | ".join(str(choice) for choice in choices)
    bounds = {
        bound: getattr(rule, bound)
        for rule in info.metadata
        for bound in ("ge", "gt", "le", "lt")
        if hasattr(rule, bound)
    }
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(f"{signs[bound]} {limit:g}" for bound, limit in bounds.items())
