"""How much room there is: by node against its limits, what a message costs, and when a limit will be met."""

from __future__ import annotations

from tools.make.monitoring.boards.panels import rate_by, total_by
from tools.make.monitoring.model import Board, Kind, Panel, Query, Row
from tools.make.monitoring.promql import rate, select, total

ACCESS = 'job="tidings-access"'
ANY = 'job=~"tidings-.+"'
STORAGE = 'job="tidings-storage"'
BUSY = 'state="busy",job="tidings-storage"'
MAIL = 'topic=~".+deliver"'
CALLS = 'lane=~"send|store"'
CPU = "process_cpu_seconds_total"

BOARD = Board(
    uid="tidings-capacity",
    title="Tidings / Capacity",
    description="Room that is left, costs, trends: when to add which kind of node.",
    rows=(
        Row(
            "Room",
            (
                Panel(
                    "Connections, of what is allowed",
                    "By access node. Above 80 %: add access nodes.",
                    "percentunit",
                    (
                        Query(
                            f"{total('tidings_connections', 'instance', ACCESS)}"
                            f" / {total('tidings_connections_max', 'instance', ACCESS)}",
                            "{{instance}}",
                        ),
                    ),
                    Kind.BARS,
                    limits=((0, "green"), (0.8, "orange"), (0.95, "red")),
                    top=1,
                ),
                Panel(
                    "Processor, of one core",
                    "A node is one process with one event loop: above 80 % its latencies grow, and another node helps.",
                    "percentunit",
                    (rate_by(CPU, "instance", ANY),),
                    Kind.BARS,
                    limits=((0, "green"), (0.8, "orange"), (0.95, "red")),
                    top=1,
                ),
                Panel(
                    "File descriptors, of what is allowed",
                    "A connection is one.",
                    "percentunit",
                    (Query(f"{select('process_open_fds', ANY)} / {select('process_max_fds', ANY)}", "{{instance}}"),),
                    Kind.BARS,
                    limits=((0, "green"), (0.7, "orange"), (0.9, "red")),
                    top=1,
                ),
                Panel(
                    "MongoDB's pool",
                    "Busy connections of those that there may be, by storage node.",
                    "percentunit",
                    (
                        Query(
                            f"{total('tidings_repository_connections', 'instance', BUSY)}"
                            f" / {total('tidings_repository_connections_max', 'instance', STORAGE)}",
                            "{{instance}}",
                        ),
                    ),
                    Kind.BARS,
                    limits=((0, "green"), (0.7, "orange"), (0.9, "red")),
                    top=1,
                ),
                Panel(
                    "How even the slots are",
                    "Slots of the fullest access node against an even share: 1.25 is the bound of the ring.",
                    "none",
                    (
                        Query(
                            f"max({total('tidings_ring_slots_owned', 'instance', ACCESS)})"
                            f" / avg({total('tidings_ring_slots_owned', 'instance', ACCESS)})",
                            "fullest / even",
                        ),
                    ),
                    Kind.STAT,
                    limits=((0, "green"), (1.3, "orange")),
                    decimals=2,
                ),
                Panel(
                    "Connections in a week",
                    "If the trend of the last day goes on; against what all access nodes take together.",
                    "short",
                    (
                        Query(
                            f"sum(predict_linear({select('tidings_sessions', ACCESS)}[1d], 604800))",
                            "in a week",
                        ),
                        Query(total("tidings_connections_max", where=ACCESS), "most"),
                    ),
                ),
            ),
        ),
        Row(
            "Costs",
            (
                Panel(
                    "Processor time of a message",
                    "Seconds of each kind of node for one message that is stored.",
                    "s",
                    (
                        Query(
                            f"{rate(CPU, 'job', ANY)} / scalar({rate('tidings_stored_total')} > 0)",
                            "{{job}}",
                        ),
                    ),
                ),
                Panel(
                    "Memory of a connection",
                    "Resident memory of access nodes divided by their connections: falls towards its true cost as "
                    "connections grow.",
                    "bytes",
                    (
                        Query(
                            f"{total('process_resident_memory_bytes', 'instance', ACCESS)}"
                            f" / ({total('tidings_connections', 'instance', ACCESS)} > 0)",
                            "{{instance}}",
                        ),
                    ),
                ),
                Panel(
                    "Documents of a message",
                    "Written to MongoDB for one message that is stored.",
                    "none",
                    (
                        Query(
                            f"{rate('tidings_repository_documents_total')} / ({rate('tidings_stored_total')} > 0)",
                            "documents",
                        ),
                    ),
                    decimals=2,
                ),
                Panel(
                    "Messages of a Kafka record",
                    "Pushed by one record: grows with the load.",
                    "none",
                    (
                        Query(
                            f"{rate('tidings_stored_total')} / ({rate('tidings_bus_published_total', where=MAIL)} > 0)",
                            "messages",
                        ),
                    ),
                    decimals=2,
                ),
                Panel(
                    "Messages of a call",
                    "That one call from access to logic, and from logic to storage, holds on average.",
                    "none",
                    (
                        Query(
                            f"{rate('tidings_lane_batch_sum', 'lane', CALLS)}"
                            f" / ({rate('tidings_lane_batch_count', 'lane', CALLS)} > 0)",
                            "{{lane}}",
                        ),
                    ),
                    decimals=1,
                ),
                Panel(
                    "Series of each node",
                    "That Prometheus keeps: they do not grow with users.",
                    "short",
                    (total_by("scrape_samples_scraped", "instance", ANY),),
                ),
            ),
        ),
        Row(
            "Use",
            (
                Panel(
                    "Messages stored",
                    "A second.",
                    "mps",
                    (Query(rate("tidings_stored_total"), "stored"), Query(rate("tidings_delivered_total"), "pushed")),
                ),
                Panel(
                    "Processor",
                    "Cores by kind of node.",
                    "none",
                    (rate_by(CPU, "job", ANY),),
                    Kind.STACKED,
                ),
                Panel(
                    "Memory",
                    "Resident memory by kind of node.",
                    "bytes",
                    (total_by("process_resident_memory_bytes", "job", ANY),),
                    Kind.STACKED,
                ),
            ),
        ),
    ),
)
