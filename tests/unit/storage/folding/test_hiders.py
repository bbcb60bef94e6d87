"""Who has hidden an entry."""

from __future__ import annotations

from services.storage.folding.hiders import Audience, hiders_among
from services.storage.repository.memory import Database
from services.storage.repository.records import MemberKey

CHAT, GROUP = "d:ann|bob", "g:1"


async def test_who_of_an_audience_has_hidden_an_entry_is_told() -> None:
    repository = Database().repository()
    for key, seqs, through in ((MemberKey(CHAT, "ann"), [3], 0), (MemberKey(GROUP, "cid"), [], 5)):
        await repository.hidden.hide(key, seqs, through)
    audiences = [
        Audience((CHAT, 3), ["ann", "bob"]),
        Audience((CHAT, 4), ["ann", "bob"]),
        Audience((GROUP, 5), ["cid"]),
        Audience((GROUP, 5), ["ann"]),
        Audience((GROUP, 5), []),  # all who read it by cursor
    ]
    found = await hiders_among(repository.hidden, audiences)
    assert [sorted(each) for each in found] == [["ann"], [], ["cid"], [], ["cid"]]
    assert await hiders_among(repository.hidden, []) == []
