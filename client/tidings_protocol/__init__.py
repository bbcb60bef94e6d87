"""What a client and a cluster agree on: frames, ids, content, errors, close codes, codecs, and two tables: what may be
asked for (operations.py) and what may stand in a conversation's log (kinds.py). No I/O; needs protobuf and
xxhash alone.
"""
