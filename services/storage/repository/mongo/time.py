"""The time of day of MongoDB: of the server that takes writes.

Guarantees: those of the port. Does not know: whether it is right.
"""

from __future__ import annotations

from datetime import UTC

from services.storage.repository.mongo.connection import MongoConnection


class MongoTime:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def now_ms(self) -> int:
        admin = self._connection.database.client.admin
        hello = await self._connection.run("time", "admin", lambda: admin.command("hello"))
        return int(hello["localTime"].replace(tzinfo=UTC).timestamp() * 1000)
