"""The command `chat`: on a terminal a full screen, in a pipe plain lines.

A device of its own per user and terminal is kept in a file, so that a chat that is opened again goes on where it was.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tools.cli.failure import WrongUse
from tools.cli.options import DATA_DEFAULT, ClusterName, Data, Etcd, SecretFile


def chat(
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Who you are.")],
    to: Annotated[str | None, typer.Option("--to", metavar="USER", help="Begin with this user.")] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="g:ID", help="Begin with this group.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="An access node, instead of looking for one.")
    ] = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
) -> None:
    """Chat in the terminal. /help lists the commands."""
    from tools.cli.chat.place import device_of
    from tools.cli.chat.session import run_chat
    from tools.cli.commands.messages import check_addressee
    from tools.cli.reach import reach

    if to is not None and group is not None:
        raise WrongUse("One chat at a time.", "Give either --to USER or --group g:ID.")
    check_addressee(to, group)
    place = reach(user, data=data, etcd=etcd, cluster=cluster, secret_file=secret_file, url=url)
    with device_of(user, data, url or etcd) as (device, state):
        run_chat(place, device, state, to, group)
