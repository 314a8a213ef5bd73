"""The management API, and the publisher that puts the configuration on the log.

`routes` is the one table of routes: requests are dispatched, checked and described (OpenAPI) by
it. Handlers write through `ledger.objects` and answer when `publisher` has told the log and the
edges of the change.
"""
