"""The metrics of every process. Under `up` each process writes its own files in a shared folder
(prometheus_client's multiprocess mode) and the console sums them.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS_ACCEPTED = Counter(
    "headwater_events_accepted", "Events answered as safe: in Redis or in the spool.", ["kind"]
)
EVENTS_COMMITTED = Counter(
    "headwater_events_committed", "Events committed to the ledger, each once.", ["kind"]
)
CLICKS = Counter(
    "headwater_clicks", "Clicks committed, by the verdict they were committed with.", ["verdict"]
)
CLICK_REVISIONS = Counter(
    "headwater_click_revisions",
    "Times later evidence changed a click that was committed, by the verdict after it.",
    ["verdict"],
)
CLICKS_UNACCEPTED = Counter(
    "headwater_clicks_unaccepted",
    "Visitors redirected whose click was not safe in time.",
    ["reason"],
)
REJECTIONS = Counter(
    "headwater_rejections", "Reports recorded as rejections.", ["source", "reason"]
)
REQUESTS_REFUSED = Counter("headwater_requests_refused", "Requests refused.", ["route", "code"])
DUPLICATES = Counter("headwater_duplicates", "Records that came again and were dropped.")
QUARANTINED = Counter("headwater_frames_quarantined", "Frames set aside.", ["reason"])
REDIS_FAILURES = Counter("headwater_redis_failures", "Failed commands and lost connections.")
EDGE_REQUEST_SECONDS = Histogram(
    "headwater_edge_request_seconds",
    "From the request's head to the answer handed to the socket.",
    ["route"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
MATCHER_LAG_SECONDS = Gauge(
    "headwater_matcher_lag_seconds",
    "Age of the newest record the matcher has committed while more wait.",
    multiprocess_mode="mostrecent",
)
SPOOL_BYTES = Gauge(
    "headwater_spool_bytes",
    "Bytes of frames on disk that are not yet known to be committed.",
    multiprocess_mode="livesum",
)
MATCHER_CPU_SECONDS = Counter(
    "headwater_matcher_cpu_seconds",
    "CPU the matcher spent: read (Redis), apply (engine, archive), commit (SQL), tell (Redis).",
    ["step"],
)
DELIVERIES = Counter(
    "headwater_pixel_deliveries",
    "Attempts to deliver a partner pixel, by what came of them.",
    ["code"],
)
DELIVERY_SECONDS = Histogram(
    "headwater_pixel_delivery_seconds",
    "From the request to a partner's server to its answer.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PIXELS_DISABLED = Counter(
    "headwater_pixels_disabled", "Partner pixels that nothing is sent to any more.", ["code"]
)
