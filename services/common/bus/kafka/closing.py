"""The end of a Kafka producer that may be broken.

Guarantees: it ends within `CLOSE_S`, whatever state it is in, and what it still holds fails.

Does not know: why it ends.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from services.common.scope import TaskScope
from services.common.telemetry import logs

CLOSE_S = 3.0
CLOSE_STEP_S = 0.02

log = logs.get_logger(__name__)


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Ends it, also if the caller is cancelled meanwhile: left open it would keep its connections."""
    ending = asyncio.create_task(_end(producer), name="kafka producer close")
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


async def _end(producer: AIOKafkaProducer) -> None:
    """Ends it now; what it still holds fails.

    aiokafka's own `stop` waits until Kafka has taken everything, which an idempotent producer never gives up on; and
    its requests under way wait for metadata that a closed client does not fetch. Hence the look inside.
    """
    sender, client, accumulator = producer._sender, producer.client, producer._message_accumulator  # noqa: SLF001
    error = KafkaConnectionError("the producer was closed")
    try:
        async with asyncio.timeout(CLOSE_S), TaskScope() as scope:
            ending = scope.spawn(sender.close(), name="kafka sender close")
            await client.close()
            while not ending.done():
                metadata = client._md_update_fut  # noqa: SLF001
                if metadata is not None and not metadata.done():
                    metadata.set_result(False)
                await asyncio.wait([ending], timeout=CLOSE_STEP_S)
    except Exception as failure:  # noqa: BLE001 - whatever a broken client raises, it is not used again
        log.warning("kafka producer did not close", reason=repr(failure)[:300])
    queued = [batch for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001
    pending = accumulator._pending_batches  # noqa: SLF001
    # A batch that was put back to be tried again takes itself out of this set once more when it fails.
    pending.update(queued)
    for batch in list(pending):
        batch.failure(error)
        batch._drain_waiter.exception()  # noqa: SLF001 - looked at, so that nobody complains that nobody did
    await producer.stop()
