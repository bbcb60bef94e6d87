"""What a client and a cluster agree on: frames, ids, content, errors, close codes, codecs. No I/O; needs protobuf and
xxhash alone."""
