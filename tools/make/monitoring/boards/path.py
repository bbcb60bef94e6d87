"""The path of one user and of one conversation, by logs (Loki) and traces (Tempo): what happened to this message?

Only sends that were sampled have traces, and all that failed by the cluster's fault; lines in the log carry the trace
id. Lines are JSON with `user`, `conversation`, `session`, `code` and `trace_id` where they apply.
"""

from __future__ import annotations

from tools.make.monitoring.model import Board, Kind, Panel, Query, Row, Source

STREAM = '{app="tidings",cluster="$cluster"}'


def _logs(condition: str) -> Query:
    return Query(f"{STREAM} | json | {condition}", source=Source.LOKI)


def _traces(condition: str) -> Query:
    return Query(f"{{ {condition} }}", source=Source.TEMPO)


BOARD = Board(
    uid="tidings-path",
    title="Tidings / One user, one conversation",
    description="Type in a user, a conversation or a trace id; d:A|B is a direct chat, g:ID a group.",
    texts=(("user", "User"), ("conversation", "Conversation"), ("trace", "Trace id")),
    rows=(
        Row(
            "A user",
            (
                Panel(
                    "What the log says of the user",
                    "Connections opened and closed with their close code, bans, sends that failed: with the node "
                    "that says it.",
                    "none",
                    (_logs('user="$user"'),),
                    Kind.LOGS,
                    width=12,
                    height=10,
                ),
                Panel(
                    "Sends of the user",
                    "Sampled sends and all that failed. Click one to see its hops: access send, logic send, "
                    "store, publish, deliver.",
                    "none",
                    (_traces('span.tidings.user = "$user"'),),
                    Kind.TRACES,
                    width=12,
                    height=10,
                ),
            ),
        ),
        Row(
            "A conversation",
            (
                Panel(
                    "What the log says of the conversation",
                    "Sends that failed, with who sent and why.",
                    "none",
                    (_logs('conversation="$conversation"'),),
                    Kind.LOGS,
                    width=12,
                    height=10,
                ),
                Panel(
                    "Messages of the conversation",
                    "Sampled sends and all that failed, with their sequence number.",
                    "none",
                    (_traces('span.tidings.conversation = "$conversation"'),),
                    Kind.TRACES,
                    width=12,
                    height=10,
                ),
            ),
        ),
        Row(
            "A trace",
            (
                Panel(
                    "Lines with this trace id",
                    "From all nodes.",
                    "none",
                    (_logs('trace_id="$trace"'),),
                    Kind.LOGS,
                    width=12,
                    height=10,
                ),
                Panel(
                    "Sends that failed lately",
                    "By the cluster's fault, of anybody; at most five a second and node are noted.",
                    "none",
                    (_traces('name = "send" && status = error'),),
                    Kind.TRACES,
                    width=12,
                    height=10,
                ),
            ),
        ),
    ),
)
