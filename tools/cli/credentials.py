"""What the command shows to the nodes and the backends of a cluster that asks for it: certificates, a login.

They are the settings of the nodes themselves (`TIDINGS_RPC_TLS_*`, `TIDINGS_ETCD_TLS_*`, `TIDINGS_KAFKA_*`), from the
environment or the file of TIDINGS_CONFIG; a local stack tells with which of them it was started.

Guarantees: another mistake in the environment does not keep an operator from a cluster. Does not know: what a
certificate is good for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from services.common.settings.node import PREFIX
from services.common.settings.security import SecuritySettings
from services.common.settings.sources import CONFIG_VARIABLE, SettingsError, load
from tools.cli.failure import WrongUse

NAMES = frozenset(f"{PREFIX}{name.upper()}" for name in SecuritySettings.model_fields)


def security_of(environment: Mapping[str, str]) -> SecuritySettings:
    """The security settings as this environment says. Raises WrongUse."""
    given = {**_of_file(environment), **{name: value for name, value in environment.items() if name in NAMES}}
    try:
        return load(SecuritySettings, given)
    except SettingsError as error:
        raise WrongUse(f"{error.problems[0]}.", "These settings are explained in docs/configuration.md.") from error


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What a local stack tells the commands for it: names of files, no secrets."""
    return {
        name: value
        for name, value in environment.items()
        if name == CONFIG_VARIABLE or (name in NAMES and "_TLS_" in name)
    }


def speaks_tls(environment: Mapping[str, str]) -> bool:
    """Whether access nodes in this environment have a certificate for their clients."""
    name = "tls_certificate_file"
    return bool(environment.get(f"{PREFIX}{name.upper()}") or _read(environment).get(name))


def _of_file(environment: Mapping[str, str]) -> dict[str, str]:
    given = {f"{PREFIX}{name.upper()}": value for name, value in _read(environment).items()}
    return {name: str(value) for name, value in given.items() if name in NAMES}


def _read(environment: Mapping[str, str]) -> Mapping[str, object]:
    """What is wrong with the file is told by the nodes and by `tidings config check`."""
    file = environment.get(CONFIG_VARIABLE)
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return {}
