"""Every bound of the Python side, with its reason. The engine's are in rust/engine/src/limits.rs.

What happens at each bound is in docs/limits.md; a test stands at each bound and one past it.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
DAY_MS: Final = 86_400_000

# ---- HTTP, public listener -----------------------------------------------------------------
# A browser sends its head in one or two packets; a head still open after this is an attack.
HEAD_DEADLINE_S: Final = 5.0
# S2S senders pool connections; a minute and a quarter outlives the usual 60 s of their pools.
KEEP_ALIVE_S: Final = 75.0
# The largest S2S body but a batch: a conversion with 200 items stays below it.
BODY_BYTES_MAX: Final = 64 * KIB
# A batch of 1,000 ordinary events is about 400 KiB.
BATCH_BODY_BYTES_MAX: Final = 1 * MIB
BATCH_EVENTS_MAX: Final = 1000
# One event of the tag: an order of 200 items is half of it, and a record may be no larger.
COLLECT_BODY_BYTES_MAX: Final = 32 * KIB
# A webhook of Shopify: an order of 500 lines is about 1 MiB.
SHOPIFY_BODY_BYTES_MAX: Final = 2 * MIB
# What a record of a changed or refunded order says of its lines; beyond it the sums alone are kept.
DECISION_LINES_BYTES_MAX: Final = 16 * KIB
# A body that has not arrived by then never will; it holds a connection and memory.
BODY_DEADLINE_S: Final = 5.0
# The usual limit of proxies in front; longer lines are answered 414 or 431.
LINE_BYTES_MAX: Final = 8190
HEADER_BYTES_MAX: Final = 8190
HEADERS_MAX: Final = 128
# Four full header lines, as proxies in front take: a hundred lines of cookies are an attack.
HEAD_BYTES_MAX: Final = 4 * HEADER_BYTES_MAX
# One address, of IPv6 a /64, may hold this many connections on one edge process: a proxy in front
# needs few hundred, a slowloris thousands. Trusted proxies are exempt.
CONNECTIONS_PER_ADDRESS_MAX: Final = 512
# Descriptors an edge keeps for itself, of those the process may have: some 30 at rest, and more
# while it sends again what is in its spool. Without one a spool takes no frame.
DESCRIPTORS_KEPT: Final = 128
# Parameters of a query beyond this are ignored on redirects and refused elsewhere.
QUERY_PARAMETERS_MAX: Final = 64
# Requests in progress finish within this after SIGTERM, then the process ends.
DRAIN_S: Final = 10.0
# JSON nesting beyond this has no meaning in any body that is taken.
JSON_DEPTH_MAX: Final = 32
# An answer is a few hundred bytes; a peer that leaves the socket's buffer full for this long is
# gone.
WRITE_DEADLINE_S: Final = 10.0
# The rest of a refused body is read and dropped for this long, so that the refusal arrives.
LINGER_S: Final = 1.0
# Connections the kernel holds while the loop is busy: a burst of new visitors.
LISTEN_BACKLOG: Final = 4096
# Hops of a forwarded chain looked at, from the right; more proxies than that is a forgery.
FORWARDED_HOPS_MAX: Final = 16
# Addresses remembered with their prefix, what the lists hold of them, and their digests, about
# 700 bytes each in all; the least recent is forgotten.
ADDRESSES_REMEMBERED_MAX: Final = 16_384
# User agents remembered with the crawlers they name: a thousand are nine of ten requests.
AGENTS_REMEMBERED_MAX: Final = 4096

# ---- Values in requests --------------------------------------------------------------------
# The field's limit for sub ids and the like; longer values are cut and flagged.
PARAMETER_BYTES_MAX: Final = 255
USER_AGENT_BYTES_MAX: Final = 512
REFERRER_BYTES_MAX: Final = 1024
# The longest value of Sec-Fetch-Dest, -Mode, -Site or -User that is defined has 13 characters.
FETCH_BYTES_MAX: Final = 32
# "prefetch;anonymous-client-ip" and what may be added to it.
PURPOSE_BYTES_MAX: Final = 64
# Its first type tells a page from an image; the rest would only tell browsers apart.
ACCEPT_BYTES_MAX: Final = 32
# One language with its script and region, "zh-Hant-TW".
LANGUAGE_BYTES_MAX: Final = 16
# Sec-CH-UA names about three brands with versions.
AGENT_BRANDS_BYTES_MAX: Final = 200
# Sec-CH-UA-Mobile and -Platform: "?1", "Chrome OS".
AGENT_HINT_BYTES_MAX: Final = 32
# A URL longer than this is cut by browsers and proxies on the way.
URL_BYTES_MAX: Final = 2048
# A Location beyond it is cut by proxies; without what the visit says a destination fits.
LOCATION_BYTES_MAX: Final = 8 * KIB
ORDER_ID_BYTES_MAX: Final = 255
PROPERTIES_MAX: Final = 20
ITEMS_MAX: Final = 200
# A quantity beyond this is a mistake; it fits 32 bits.
ITEM_QUANTITY_MAX: Final = 1_000_000_000
# 18 digits fit a signed 64-bit number of minor units.
AMOUNT_DIGITS_MAX: Final = 18
LINK_CODE_CHARACTERS_MAX: Final = 64
IDEMPOTENCY_KEY_BYTES_MAX: Final = 255
API_KEY_BYTES_MAX: Final = 128
# A caller's clock may be this far ahead; beyond it a time is a mistake (422).
FUTURE_MS_MAX: Final = 5 * 60 * 1000
# Chrome keeps no cookie longer than 400 days.
COOKIE_AGE_S_MAX: Final = 400 * 86_400

# ---- Lists and daily keys -------------------------------------------------------------------
# The largest list in use, networks of clouds with their names, has 3 MiB, a country database 8.
LIST_BYTES_MAX: Final = 64 * MIB
# A range takes about 150 bytes of every edge.
LIST_ENTRIES_MAX: Final = 1_000_000
# How often files of lists are looked at; a changed one is read at the second look that finds it
# as it was.
LISTS_CHECK_S: Final = 5.0
# How often an edge asks whether Redis still has the keys it holds: they are of use only shared.
DAILY_KEYS_POLL_MS: Final = 60_000

# ---- Accepting events ----------------------------------------------------------------------
# A redirect is never held longer than this for its frame to be safe.
ACCEPT_DEADLINE_MS: Final = 50
# Redis answers within this or the spool's own fdatasync answers instead.
REDIS_ANSWER_MS: Final = 20
# How long an S2S conversion waits for its decision before 202.
DECISION_WAIT_MS: Final = 2000
# Conversions waiting for a decision on one edge; past it they are answered 202 at once.
DECISION_WAITERS_MAX: Final = 10_000
# ... and those among them that browsers sent, so that a flood of them leaves room for servers.
COLLECT_WAITERS_MAX: Final = 2_000
# The engine takes no larger record; an order that makes one is refused (413).
RECORD_BYTES_MAX: Final = 32 * KIB
# A frame above this holds Redis' one thread for over a millisecond.
FRAME_BYTES_MAX: Final = 256 * KIB
FRAME_RECORDS_MAX: Final = 512
# A server-to-server event waits this long to be safe before 503; Redis or a disk that stalls longer
# is an outage, and the sender's own timeout is near.
SAFE_WAIT_S: Final = 5.0
# Idempotency keys and undecided conversions remembered by one edge while Redis is away.
REMEMBERED_MAX: Final = 10_000
# An Idempotency-Key is remembered for a day, as decisions are.
IDEMPOTENCY_KEPT_S: Final = 86_400
# Counters are summed in the process and handed to the metrics at this pace.
METERS_FLUSH_S: Final = 0.1
# Records gathered in memory while a frame is in flight, over all partitions of one process.
GATHER_BYTES_MAX: Final = 64 * MIB
# Uncommitted frames kept on disk by one process; past it events are refused (conversions 503,
# clicks redirected and counted as unaccepted).
SPOOL_BYTES_MAX: Final = 4 * GIB
# Uncommitted frames older than this stop further acceptance: the engine clamps accept times
# to the same age, so an older frame could no longer be placed in time.
SPOOL_AGE_MAX_MS: Final = 24 * 3600 * 1000
SPOOL_SEGMENT_BYTES: Final = 16 * MIB
# A segment is closed after this, so that one young frame does not make the whole file count as
# old as its first.
SPOOL_SEGMENT_AGE_MS: Final = 10 * 60 * 1000
# Pause before an edge knocks at a Redis that failed, growing to the second figure.
REDIS_RETRY_MS: Final = 50
REDIS_RETRY_MS_MAX: Final = 1000
# A connection silent this long with commands pending is dropped: nothing more will come of it.
REDIS_HANG_MS: Final = 5000
# Connecting, and commands nobody waits for at the edge.
REDIS_CONNECT_MS: Final = 1000
# Frames and bytes resent from the spool at once: about one millisecond of Redis' time, which is
# what a live frame may have to wait behind them.
DRAIN_FRAMES_MAX: Final = 64
DRAIN_BYTES_MAX: Final = 512 * KIB
# A process that ends waits this long for the ledger to have its last frames, so that nobody has
# to take over its spool.
CLOSE_COMMIT_S: Final = 1.0
# Dead processes' spools taken over in one look, so that live processes share them.
ORPHANS_AT_ONCE: Final = 4
# How often an edge asks for the committed ranges of its frames, and looks for orphan spools.
COMMITTED_POLL_MS: Final = 1000
ORPHAN_POLL_MS: Final = 2000

# ---- Redis ---------------------------------------------------------------------------------
REDIS_MAXMEMORY_BYTES: Final = 1 * GIB
# The path of a unix socket fits sockaddr_un, which has 108 bytes with the closing zero.
SOCKET_PATH_BYTES_MAX: Final = 107
# A decision is answered from Redis for a day, from the ledger afterwards.
DECISION_KEPT_S: Final = 86_400
# ... and for this long only while Redis is over half full, whose room is the log's.
DECISION_KEPT_FULL_S: Final = 300
# Entries of the configuration's change log; an edge further behind reads the whole again.
CONFIG_LOG_ENTRIES: Final = 10_000
# An edge that starts waits this long for the configuration Redis holds before it listens with
# what its file holds; where Redis refuses the connection it does not wait.
CONFIG_WAIT_MS: Final = 1000
# Decisions edges may ask the console for before the oldest question is dropped.
LOOKUPS_MAX: Final = 10_000

# ---- Matcher -------------------------------------------------------------------------------
# Frames and bytes read at once: a batch is one SQL transaction.
BATCH_FRAMES_MAX: Final = 512
# Bytes one read of the streams should stay below: frames vary from one record to a full one.
READ_BYTES_MAX: Final = 32 * MIB
READ_BLOCK_MS: Final = 100
# After a batch of so many clicks the next is read no sooner than this after the last: three
# milliseconds that every transaction takes are shared by hundreds where thousands come a second.
# Reports wait for it as well, and a page may wait for a report's decision: not much longer than
# it takes to be made.
BATCH_BUSY_CLICKS: Final = 32
BATCH_GATHER_MS: Final = 25
# A stopped owner loses its partitions after this.
LEASE_MS: Final = 5000
LEASE_RENEW_MS: Final = 1000
# The owner's tick on every log, busy or idle: what is due by time, such as locks, is done on it.
TICK_MS: Final = 1000
SNAPSHOT_EVERY_MS: Final = 60_000
SNAPSHOTS_KEPT: Final = 2
ARCHIVE_SEGMENT_BYTES: Final = 64 * MIB
# Log time from a file's first entry on, after which the next is begun: what an erasure has to be
# carried into must be in files that are finished.
ARCHIVE_SEGMENT_MS: Final = DAY_MS
# An erasure is carried into archive and ledger when the oldest is this old; one pass takes all.
ERASURE_WAIT_MS: Final = 7 * DAY_MS
# From this age on it is a fault that one has not been: 30 days are promised.
ERASURE_LATE_MS: Final = 25 * DAY_MS
# How often it is looked whether one is due, and how long after the start for the first time: the
# start itself is not to wait for it.
ERASURE_LOOK_MS: Final = DAY_MS
ERASURE_LOOK_MIN_MS: Final = 10 * 60 * 1000
# Pseudonyms drawn for the same erasures before they are tried in two halves.
PSEUDONYM_DRAWS_MAX: Final = 8
# Rows of a table looked through at once when an erasure is carried into the ledger.
REWRITE_ROWS: Final = 1000
# Places in the archive that erasures touched, named for each partition.
TOUCHED_SHOWN: Final = 10
# A frame that ended the engine this often is quarantined.
PANICS_BEFORE_QUARANTINE: Final = 2

# ---- Ledger and console --------------------------------------------------------------------
# Rows one transaction of any writer but the matcher may touch: SQLite has one writer.
TRANSACTION_ROWS_MAX: Final = 1000
SQLITE_BUSY_MS: Final = 5000
# Pages of the B-trees kept by one connection: the inner pages of a billion clicks fit.
SQLITE_CACHE_BYTES: Final = 64 * MIB
# Measured against 4 KiB: a tenth less CPU a click, for half the splits of pages.
SQLITE_PAGE_BYTES: Final = 8 * KIB
# A checkpoint folds this many pages (32 MiB) at once: fewer, longer pauses cost less in total.
SQLITE_CHECKPOINT_PAGES: Final = 4096
SQLITE_WAL_BYTES_KEPT: Final = 64 * MIB
# Panics, quarantined frames and uncommitted changes read at once at start.
RECOVERY_ROWS_MAX: Final = 100_000
PAGE_ROWS: Final = 50
PAGE_ROWS_MAX: Final = 500
# A read younger than the matcher's position waits this long for it.
READ_WAIT_MS: Final = 1000
CONSOLE_BODY_BYTES_MAX: Final = 1 * MIB
# Strings of one field of the management API: names, external ids, utm values.
TEXT_CHARACTERS_MAX: Final = 255
# Links made by one request, as many as a batch has events; their bodies fit a request.
BULK_LINKS_MAX: Final = 1000
# Destinations of one link by device and country; an edge holds them, and tells them over.
LINK_TARGETS_MAX: Final = 20
# Edge of a QR code: below, a link's modules are under a pixel; above, no print shop needs it.
QR_PIXELS_MIN: Final = 64
QR_PIXELS_MAX: Final = 4096
# Modules of white around a QR code; the standard asks for four.
QR_MARGIN_MAX: Final = 16
# Entries of a program's lists; its value is held by every edge and sent whole at each change.
PROGRAM_LIST_MAX: Final = 100
# Unknown fields named in the warnings of one answer.
WARNINGS_MAX: Final = 20
# Characters of the name of an unknown field that a refusal or a warning repeats.
FIELD_NAME_CHARACTERS_MAX: Final = 64
# Entries of one list of fraud rules: a network's refused domains; the engine takes twice as many.
FRAUD_LIST_MAX: Final = 500
# One layer of fraud rules: with its program's hosts it fits in a record of the log.
FRAUD_RULES_BYTES_MAX: Final = 8 * KIB
# For how long a visitor's further clicks are not unique: a minute to a month.
UNIQUE_WINDOW_S_MIN: Final = 60
UNIQUE_WINDOW_S_MAX: Final = 30 * 86_400
# Clicks or conversions of one report: counted by SQL, and read one by one for their signals; a
# few seconds of one thread each.
REPORT_ROWS_MAX: Final = 1_000_000
FRAUD_REPORT_ROWS_MAX: Final = 200_000
# Conversions whose reports and explanations one report of match rates reads: five seconds of one
# thread.
MATCH_REPORT_ROWS_MAX: Final = 100_000
# Clicks, or conversions, looked through for one page of those with a verdict or a status: a tenth
# of a second.
PAGE_SCAN_ROWS_MAX: Final = 20_000
# Of the list of crawlers: patterns and bytes of one record, which holds 32 KiB; bytes of one
# pattern; patterns and bytes in all, as the engine takes: five times what is published.
BOT_CHUNK_PATTERNS_MAX: Final = 400
BOT_CHUNK_BYTES_MAX: Final = 24 * KIB
BOT_PATTERN_LENGTH_MAX: Final = 1 * KIB
BOT_PATTERNS_MAX: Final = 8192
BOT_PATTERN_BYTES_MAX: Final = 512 * KIB
# How often the console looks whether the list of crawlers is another.
BOT_LIST_LOOK_S: Final = 60.0
# A click counts for at least an hour and at most as long as a cookie lives.
CLICK_WINDOW_S_MIN: Final = 3600
CLICK_WINDOW_S_MAX: Final = 400 * 86_400
# The half-life of a touch's weight: as a click window, at least an hour, at most 400 days.
HALF_LIFE_S_MIN: Final = 3600
HALF_LIFE_S_MAX: Final = 400 * 86_400
# Identifiers one question may reach: a household is below 64; the engine takes up to 256.
PERSON_MEMBERS: Final = 64
PERSON_MEMBERS_MAX: Final = 256
# Steps from what a conversion names: beyond eight a chain of identifiers is no evidence.
PERSON_HOPS: Final = 8
PERSON_HOPS_MAX: Final = 16
# Neighbours that make an identifier a hub: the engine keeps 49 links of each.
PERSON_NEIGHBOURS: Final = 48
PERSON_NEIGHBOURS_MAX: Final = 48
# Longest identifier an erasure may name: the engine blocks longer ones, so none is recorded.
IDENTIFIER_CHARACTERS_MAX: Final = 1024
# Conversions looked through for those a click was a candidate of: a fifth of a second of one
# thread, with explanations of 2 KB.
CLICK_SCAN_ROWS_MAX: Final = 20_000
# Conversions one partner's question is answered with: lines of an order, buyers of a household.
PARTNER_CONVERSIONS_MAX: Final = 50
# Sub ids of one partner's day that are summed up apart: those that come later are summed up
# together, so that nobody makes reports slow with a sub id a click.
ROLLUP_SUB_IDS_MAX: Final = 1000
# Cells of clicks, and batches, whose sums wait to be written to their cells: together they share
# its pages. As many are a twentieth of a second of the matcher, and of the report that reads them.
ROLLUP_CHANGED_CELLS_MAX: Final = 16_384
ROLLUP_CHANGES_MAX: Final = 1000
# A quarter hour is summed up when it has been over for this long: what comes later, comes seldom.
ROLLUP_FOLD_AFTER_MS: Final = 60_000
# Programs whose quarter hours one batch sums up: some ten milliseconds in a network of 100 million
# clicks a year, and once an hour, when days grow, a tenth of a second. The rest follows with the
# next.
ROLLUP_FOLDS_MAX: Final = 20
# Cells of rollups one answer may read, and as many for its total: one to four seconds of one
# thread, by how many groups they fall into.
REPORT_CELLS_MAX: Final = 2_000_000
# Rows one report may have before it is cut into pages: each takes about 500 bytes.
REPORT_GROUPS_MAX: Final = 200_000
# Reports and exports one key may have at once, of a console's in all: a page of several asks for
# them together, and nobody's keep others waiting for more than seconds. They are made in as many
# threads of their own, so that all else has the others.
REPORTS_PER_KEY_MAX: Final = 8
REPORTS_MAX: Final = 32
REPORT_THREADS: Final = 2
# Days a report of rollups may span: three years and the day between.
ROLLUP_DAYS_MAX: Final = 1096
# Days one report may span: a quarter, which is how accounts are kept.
REPORT_DAYS_MAX: Final = 92
# How often a read that waits for the matcher looks again.
READ_POLL_MS: Final = 20
# How often the publisher looks for changes other processes wrote, and whether Redis lost its
# part of the configuration.
PUBLISH_POLL_MS: Final = 250
# A "no such conversion" told to an edge holds this long: the next question may find it decided.
LOOKUP_NONE_KEPT_S: Final = 2
# The configuration is on the log within this, or the console answers 503.
PUBLISH_WAIT_MS: Final = 5000

# ---- Money -----------------------------------------------------------------------------------
# Ten billion units of most currencies. What claims to earn more is a mistake or an attack; its
# micros still fit a signed 64-bit number.
PAYOUT_MINOR_MAX: Final = 10**12
# Of one click a million minor units: nine million such clicks of a day fit a counter.
CLICK_MICROS_MAX: Final = 10**12
# The same of one order that earns anything: counters of revenue hold nine million of them.
PAID_ORDER_MINOR_MAX: Final = 10**12
# Numerator and denominator of an exchange rate: twelve digits on each side of the point.
RATE_PART_MAX: Final = 10**24
# Open-ended locking ends two years after the day an action was tracked on, as on impact.com.
LOCK_DAYS_MAX: Final = 730
LOCK_MONTHS_MAX: Final = 24
# Longer notice than a quarter is a contract that cannot be changed.
CHANGE_NOTICE_DAYS_MAX: Final = 90
# Terms of one partner: what a person can still read; together they fit a record of the log.
PAYOUT_GROUPS_MAX: Final = 100
GROUP_VALUES_MAX: Final = 100
TIER_STEPS_MAX: Final = 20
CAPS_MAX: Final = 20
TERMS_BYTES_MAX: Final = 24 * KIB
# Maps and lists of terms over all levels, as the engine takes of one control value.
TERMS_ENTRIES_MAX: Final = 4096

# ---- The book --------------------------------------------------------------------------------
# Actions and days of clicks that one tick, or one `settle`, locks: some fifty milliseconds. The
# rest follows with the next.
LOCKED_AT_ONCE_MAX: Final = 1000
# Clicks that one decision by filter accepts or rejects; whoever asked asks again for the rest.
REVIEWED_AT_ONCE_MAX: Final = 1000
# Decisions one request asks for, and brands one `settle`: each is three rows of a transaction.
DECISIONS_AT_ONCE_MAX: Final = 300
# Moves of one action, modifications of one order: as many as impact.com takes.
ACTION_MOVES_MAX: Final = 1000

# ---- Partner pixels --------------------------------------------------------------------------
# A URL with every macro in it; what follows is cut by servers on the way.
PIXEL_TEMPLATE_BYTES_MAX: Final = 4 * KIB
# A rendered URL beyond it is cut by servers on the way, so it is not sent.
PIXEL_URL_BYTES_MAX: Final = 8 * KIB
# Pixels of one partner: more than programs times slots of any partner known.
PIXELS_PER_PARTNER_MAX: Final = 500
# The rule of the field: a lead has twenty minutes to become a sale; and at most a month.
LEAD_DELAY_MS_MIN: Final = 20 * 60 * 1000
LEAD_DELAY_MS_MAX: Final = 30 * DAY_MS
# Leads whose time has come, fired at one step of the log; the rest at the next.
LEADS_DUE_AT_ONCE: Final = 500
# Leads that one sale cancels: a visitor has a handful, and who made more of them did not mean well.
LEADS_PER_SALE_MAX: Final = 500
# A partner's server answers a postback in well under a second, or has a problem.
DELIVERY_S: Final = 5.0
# What is kept of an answer: enough to read the partner's own error.
DELIVERY_ANSWER_BYTES_MAX: Final = 512
# Requests in progress over all partners, of one partner, and to one pixel.
DELIVERIES_AT_ONCE_MAX: Final = 256
DELIVERIES_PER_PARTNER_MAX: Final = 32
DELIVERIES_PER_PIXEL_MAX: Final = 8
# Names looked up at once, each in a thread: a name that does not answer holds one, for longer than
# its request, so there are as many as there are requests.
EGRESS_LOOKUPS_MAX: Final = 256
# A claimed firing is due again after this, should its courier die: a request's time and what
# recording it takes.
DELIVERY_CLAIM_MS: Final = 10_000
# How often the courier looks for what is due, and the least pause between two transactions.
COURIER_POLL_MS: Final = 200
COURIER_PAUSE_MS: Final = 20
# The longest a partner's server may ask to wait: the longest step of the schedule.
RETRY_AFTER_MS_MAX: Final = DAY_MS
# Failures in a row after which a pixel is tried with one firing at a time, and the pause before
# it, growing to the second figure.
BREAKER_FAILURES: Final = 5
BREAKER_OPEN_MS: Final = 30_000
BREAKER_OPEN_MS_MAX: Final = 600_000
# A pixel that failed this often and for this long, with no success, is disabled.
DISABLE_FAILURES: Final = 10
DISABLE_AFTER_MS: Final = 5 * DAY_MS
# Firings looked through for one page of the log: a tenth of a second.
FIRING_PAGE_SCAN_ROWS_MAX: Final = 20_000
# Links of one answer: of so many programs a partner tests its pixel in at once.
TEST_LINKS_MAX: Final = 20
# A firing not delivered by then is given up: its schedule takes 32 hours.
FIRING_AGE_MS_MAX: Final = 7 * DAY_MS

# ---- Supervisor ----------------------------------------------------------------------------
RESTART_PAUSE_MS: Final = 100
RESTART_PAUSE_MS_MAX: Final = 5000
# Readiness waits this long for the matcher at a start, then does without it.
MATCHER_START_MS: Final = 10_000
# A role that ran this long starts again with the shortest pause.
RESTART_FORGIVE_MS: Final = 2000

# ---- Simulation ----------------------------------------------------------------------------
# Conversions compared at once: each takes about 500 bytes.
SIMULATED_CONVERSIONS_MAX: Final = 2_000_000
# Clicks whose verdicts are compared at once: each takes about 250 bytes.
SIMULATED_CLICKS_MAX: Final = 4_000_000

# ---- Evaluation ----------------------------------------------------------------------------
# A line of a labelled file longer than this is no such line.
EVALUATED_LINE_BYTES_MAX: Final = 64 * KIB
# Lines sorted in memory at once when a file is not in order of time: some 100 MB.
EVALUATED_SORT_LINES: Final = 400_000
