#!/bin/sh
# What an `asyncio.TaskGroup` leaves behind whose child failed while its owner waited at the end of the group, in a task that
# nobody cancels: `cancelling()` of that task, and what `asyncio.timeout` around it raises. And what becomes of a cancellation
# from outside that comes in the same turn as the failure, or, for `asyncio.gather`, in the next one. Run with each of these
# Pythons that is there.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/seen.py" <<'PY'
import asyncio
import sys


async def fail(news):
    await news.wait()
    raise ValueError


async def failed_group(news):
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(news))
    except* ValueError:
        pass


def happened():
    news = asyncio.Event()
    news.set()
    return news


async def left_behind():
    counts = []
    for _ in range(3):
        await failed_group(happened())
        counts.append(asyncio.current_task().cancelling())
    return counts


async def timed_out():
    try:
        async with asyncio.timeout(0.05):
            await failed_group(happened())
            await asyncio.sleep(60)
    except TimeoutError:
        return "TimeoutError"
    except asyncio.CancelledError:
        return "CancelledError"


async def failed_gather(news):
    try:
        await asyncio.gather(fail(news), asyncio.sleep(60))
    except ValueError:
        pass


async def cancelled(waiting, turns):
    """What becomes of a task that is cancelled so many turns after a child of its was told to fail."""
    news = asyncio.Event()

    async def owner():
        await waiting(news)
        await asyncio.sleep(60)

    task = asyncio.create_task(owner())
    await asyncio.sleep(0.05)
    news.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=1)
    ended = task.cancelled()
    task.cancel()
    return "ends" if ended else "goes on"


async def main():
    works = left_behind(), timed_out(), cancelled(failed_group, 0), cancelled(failed_gather, 1)
    seen = [await asyncio.create_task(work) for work in works]
    print("Python", sys.version.split()[0], *seen, flush=True)
    former = [[1, 2, 3], "CancelledError", "goes on", "goes on"]
    return seen == ([[0, 0, 0], "TimeoutError", "ends", "goes on"] if sys.version_info >= (3, 13) else former)


raise SystemExit(0 if asyncio.run(main()) else "this changed")
PY
ran=0
for python in python3.11 python3.12 python3.13 python3.14; do
    if "$python" --version > "$work/version" 2>&1; then
        "$python" "$work/seen.py"
        ran=$((ran + 1))
    fi
done
[ "$ran" -gt 0 ] || { echo "none of these Pythons is there" >&2; exit 1; }
