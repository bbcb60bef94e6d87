"""The client wire: frames in protobuf and JSON, TCP framing, goodbyes, negotiation. Pure: bytes in, values out.

A frame in the process is the protobuf object itself (`ClientFrame`, `ServerFrame`), whichever codec it came by.
"""
