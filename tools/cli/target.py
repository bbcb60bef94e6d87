"""Which cluster a command is for: a local stack by its data folder, or any by its etcd; and what opens its doors."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.common.auth.token_keys import KeyRefused, secret_of
from services.common.auth.tokens import sign
from tidings_protocol.ids import USER_RULE, is_user
from tools.cli.failure import Failure, WrongUse
from tools.cli.options import DATA_DEFAULT
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping.control import NoSupervisor

if TYPE_CHECKING:  # it takes a while to import, which many commands need not wait for
    from services.common.settings.security import SecuritySettings

TTL_DEFAULT_S = 86_400
TTL_MAX_S = 10 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Target:
    """`snapshot` is the last word of a local stack's supervisor; None for a cluster that is found by its etcd."""

    cluster: str
    etcd: str
    secret_file: Path | None
    given_operator_token: str | None
    snapshot: dict[str, Any] | None

    def security(self) -> SecuritySettings:
        """What the command shows to its nodes and its etcd. Raises WrongUse."""
        from tools.cli.credentials import security_of

        return security_of({**(self.snapshot or {}).get("security", {}), **os.environ})

    def token(self, user: str, ttl_s: float = TTL_DEFAULT_S) -> str:
        """A signed token for this user. Raises Failure."""
        check_user(user)
        if not 0 < ttl_s <= TTL_MAX_S:
            raise WrongUse(f"A token cannot live {ttl_s:g} s.", f"Give more than 0 and at most {TTL_MAX_S} s.")
        if self.secret_file is None:
            raise WrongUse("The secret that signs tokens is not known.", "Name its file with --secret-file.")
        try:
            return sign(secret_of(self.secret_file.read_bytes()), user, self.cluster, ttl_s, now=time.time())
        except OSError as error:
            raise Failure(
                f"The secret {self.secret_file} cannot be read: {error.strerror}.", "Name its file with --secret-file."
            ) from error
        except (KeyRefused, ValueError) as error:
            raise Failure(f"{self.secret_file}: {error}.", "Name another with --secret-file.") from error

    @property
    def operator_token(self) -> str:
        """What the nodes want to see of an operator. Raises Failure."""
        if self.given_operator_token:
            return self.given_operator_token
        if self.snapshot is None:
            raise WrongUse("This needs the operator's token.", "Give --operator-token or set TIDINGS_OPERATOR_TOKEN.")
        file = Path(self.snapshot["auth"]["operator_token_file"])
        try:
            return file.read_text().strip()
        except OSError as error:
            raise Failure(
                f"The operator's token {file} cannot be read: {error.strerror}.", "Give it with --operator-token."
            ) from error


def find(
    data: Path = DATA_DEFAULT,
    etcd: str | None = None,
    cluster: str | None = None,
    secret_file: Path | None = None,
    operator_token: str | None = None,
    *,
    running: bool = True,
) -> Target:
    """The cluster that the options mean; one of a data folder must run unless `running` is False. Raises Failure."""
    if etcd:
        return Target(cluster or "local", etcd, secret_file, operator_token, None)
    folder = Folder.at(data)
    snapshot = folder.load_state() if folder.is_ours else None
    if snapshot is None or (running and not folder.is_locked()):
        raise NoSupervisor(folder)
    auth = snapshot["auth"]
    return Target(
        cluster=snapshot["cluster"],
        etcd=snapshot["endpoints"]["etcd"],
        secret_file=secret_file or Path(auth["secret_file"]),
        given_operator_token=operator_token,
        snapshot=snapshot,
    )


def check_user(user: str) -> str:
    """Raises WrongUse."""
    if not is_user(user):
        raise WrongUse(f"{user!r} is not a user id.", f"It needs {USER_RULE}.")
    return user
