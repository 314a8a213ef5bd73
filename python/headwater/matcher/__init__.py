"""The owner of partitions: reads the log, applies it to the engine, commits what comes out.

`service` is the loop; `recovery` brings an engine to the ledger's position; `archive_set` and
`snapshots` keep the files; `outcomes` turns what was committed into answers; `health` tells the
edges of this host, without Redis, whether the ledger can be written.
"""
