"""The ledger: what was decided, and the configuration it was decided under.

The only part with SQL. `engine` opens a database and migrates it, `matching` is the matcher's
side (ownership, the one transaction a batch), `objects` writes the configuration together with
what the log is told of it, `queries` reads. Everything here blocks: coroutines call it in a
thread. A `Ledger` and all functions that take one may be used from many threads at once; a
connection belongs to the thread that opened it.
"""
