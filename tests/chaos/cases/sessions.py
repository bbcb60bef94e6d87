"""What becomes of one session when its node dies or sleeps: resumption, the fence against the old one, presence."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.chaos.cases.faults import SLEEP_S
from tests.chaos.scene import Scene
from tests.support.device.pipes import Address
from tests.support.device.wire import Refused, Wire, connect
from tests.support.faults.outcome import Broken
from tests.support.load.crowd_load import users_of
from tidings_protocol.client_pb2 import Content, PresenceRequest, Send, Sync, Welcome

PATIENCE_S = 30.0
POLL_S = 0.1
MISSED = 5
OLD_NODE, NEW_NODE = "access-0", "access-1"


@dataclass(frozen=True, slots=True)
class Cast:
    """`ann` lives on the node that breaks and comes back elsewhere; `bob` lives there and does not; `eve` watches."""

    ann: str
    bob: str
    eve: str


async def recovery(scene: Scene) -> None:
    """kill -9 of the node: one round trip resumes, nothing that was missed is missing, presence is right."""
    cast = await _cast(scene)
    async with (
        _session(scene, cast.eve, NEW_NODE) as (eve, _),
        _session(scene, cast.ann, OLD_NODE) as (ann, first),
        _session(scene, cast.bob, OLD_NODE),
    ):
        await _watch(eve, cast.ann, cast.bob)
        number = await _talk(eve, cast.ann, "before")
        await ann.push("deliver")
        scene.stack.kill(OLD_NODE)
        scene.mended()
        killed = time.monotonic()
        await ann.end()
        for missed in range(MISSED):
            await _talk(eve, cast.ann, f"missed {missed}")
        # As a client would: another node, with the node that it cannot reach named.
        async with _session(scene, cast.ann, NEW_NODE, cursor=number, epoch=first.epoch, avoid=[OLD_NODE]) as (
            again,
            welcome,
        ):
            scene.details["back_s"] = round(time.monotonic() - killed, 2)
            page = (await again.request(sync=Sync(after=number))).page
            texts = [entry.message.content.text for entry in page.entries]
            if welcome.reset or texts != [f"missed {missed}" for missed in range(MISSED)]:
                raise Broken(f"one sync did not bring what was missed: reset {welcome.reset}, {texts}")
            scene.details["presence_s"] = await _until_offline(eve, cast.bob, killed)
            await _check_presence(eve, {cast.ann: True, cast.bob: False})
            await _check_sessions(scene, cast.ann)


async def fence(scene: Scene) -> None:
    """SIGSTOP of the node: the device logs in elsewhere at once, and its old session ends when the node wakes."""
    cast = await _cast(scene)
    async with _session(scene, cast.eve, NEW_NODE) as (eve, _), _session(scene, cast.ann, OLD_NODE) as (old, _):
        number = await _talk(eve, cast.ann, "before")
        await old.push("deliver")
        pid = scene.stack.send_signal(OLD_NODE, signal.SIGSTOP)
        try:
            began = time.monotonic()
            async with _session(scene, cast.ann, NEW_NODE, cursor=number, avoid=[OLD_NODE]) as (again, _):
                scene.details["login_s"] = round(time.monotonic() - began, 2)
                await _talk(eve, cast.ann, "to the new one")
                await _until_told(again, number)
                await asyncio.sleep(max(0.0, SLEEP_S - (time.monotonic() - began)))
                scene.stack.wake(pid)
                scene.mended()
                ended = await _ended(old)
                scene.details["old_session"] = ended
                number = await _talk(eve, cast.ann, "after")
                await _until_told(again, number - 1)
                await _check_sessions(scene, cast.ann)
        finally:
            scene.stack.wake(pid)
        late = [entry.message.content.text for frame in old.pushed("deliver") for entry in frame.deliver.entries]
        if "after" in late:
            raise Broken("the old session was still served after the new one had begun")


async def _cast(scene: Scene) -> Cast:
    owners = await scene.stack.owners()
    ann, bob = users_of(owners, OLD_NODE, f"{scene.run}.s", 2)
    (eve,) = users_of(owners, NEW_NODE, f"{scene.run}.w", 1)
    return Cast(ann, bob, eve)


@asynccontextmanager
async def _session(scene: Scene, user: str, node: str, **hello: object) -> AsyncIterator[tuple[Wire, Welcome]]:
    process = scene.stack.process(node)
    async with connect(Address(process["ws"], process["tcp"]), "tcp") as wire:
        welcome = await wire.hello(scene.stack.token(user), "device", **hello)
        yield wire, welcome


async def _talk(sender: Wire, user: str, text: str) -> int:
    """Sends, again and again if need be. Its seq is also its number in the inbox of the recipient, who has no other
    chat."""
    until = time.monotonic() + PATIENCE_S
    send = Send(client_id=text.replace(" ", "-"), user=user, content=Content(text=text))
    while True:
        try:
            return (await sender.request(send=send)).sent.seq
        except Refused as error:
            if time.monotonic() > until or not error.retry_after_ms:
                raise Broken(f"{text!r} could not be sent: {error}") from error
            await asyncio.sleep(error.retry_after_ms / 1000)


async def _until_told(wire: Wire, number: int) -> None:
    """Until the server has told of something beyond `number`: by a push, or by a nudge to sync."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        heads = [frame.lagging.inbox_head for frame in wire.pushed("lagging")]
        heads += [entry.number for frame in wire.pushed("deliver") for entry in frame.deliver.entries]
        if max(heads, default=0) > number:
            return
        await asyncio.sleep(POLL_S)
    raise Broken(f"nothing was told within {PATIENCE_S:g} s while the owner of the user slept")


async def _watch(watcher: Wire, *users: str) -> None:
    seen = (await watcher.request(presence=PresenceRequest(users=users, watch=True))).presence_list.users
    if not all(presence.online for presence in seen):
        raise Broken(f"not everyone is online: {seen}")


async def _until_offline(watcher: Wire, user: str, since: float) -> float:
    """Seconds until the watcher is told."""
    while True:
        try:
            told = await watcher.push("presence_list", PATIENCE_S)
        except AssertionError as error:
            raise Broken(f"{user} still counts as online {PATIENCE_S:g} s after its node died") from error
        if any(presence.user == user and not presence.online for presence in told.presence_list.users):
            return round(time.monotonic() - since, 2)


async def _check_presence(watcher: Wire, wanted: dict[str, bool]) -> None:
    seen = (await watcher.request(presence=PresenceRequest(users=list(wanted)))).presence_list.users
    found = {presence.user: presence.online for presence in seen}
    if found != wanted:
        raise Broken(f"presence is {found}, it should be {wanted}")


async def _check_sessions(scene: Scene, user: str) -> None:
    told = json.loads(await scene.stack.command("sessions", user, "--json"))["sessions"]
    if [session["node"] for session in told] != [NEW_NODE]:
        raise Broken(f"{user} should have one session, on {NEW_NODE}: {told}")


async def _ended(wire: Wire) -> str:
    """How the old connection ended."""
    try:
        end = await wire.end(PATIENCE_S)
    except TimeoutError as error:
        raise Broken(f"the old session was not ended within {PATIENCE_S:g} s of its node's waking") from error
    return f"goodbye {end.goodbye.code}" if end.goodbye else "closed"
