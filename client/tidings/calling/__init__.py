"""The calls of a client, by what they are about: messages, changes of them, groups, people."""
