"""The buffer between edge and matcher: spool files, Redis streams, archive segments.

A frame is bytes here; what is in it is known by the edge and the engine. Of its header only
partition, producer and sequences are read.
"""
