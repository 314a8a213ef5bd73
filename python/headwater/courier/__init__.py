"""Partner pixels on their way out: the outbox's rows delivered, at least once, and no further
than a guard at the socket lets them.
"""
