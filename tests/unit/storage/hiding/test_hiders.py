"""Who has hidden an entry."""

from __future__ import annotations

from services.storage.hiding.hiders import MessageHiders
from services.storage.repository.memory import Database
from services.storage.repository.records import MemberKey

CHAT, GROUP = "d:ann|bob", "g:1"


async def test_who_of_an_audience_has_hidden_an_entry_is_told() -> None:
    repository = Database().repository()
    for key, seqs, through in ((MemberKey(CHAT, "ann"), [3], 0), (MemberKey(GROUP, "cid"), [], 5)):
        await repository.hidden.hide(key, seqs, through)
    audiences = [((CHAT, 3), ["ann", "bob"]), ((CHAT, 4), ["ann", "bob"]), ((GROUP, 5), ["cid"]), ((GROUP, 5), ["ann"])]
    audiences.append(((GROUP, 5), []))  # all who read it by cursor
    found = await MessageHiders(repository).among(audiences)
    assert [sorted(each) for each in found] == [["ann"], [], ["cid"], [], ["cid"]]
    assert await MessageHiders(repository).among([]) == []
