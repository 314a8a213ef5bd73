//! Every bound of the engine, with its reason and what happens at the bound.

/// Milliseconds in a minute.
pub const MINUTE_MS: u64 = 60_000;
/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Milliseconds in a day.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Bytes of a frame, header included. Bounds what one read can make the engine hold; a larger
/// frame is refused with `frame_too_large`.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Records of a frame: the count is checked before anything is allocated for them.
pub const FRAME_RECORDS_MAX: usize = 1024;
/// Bytes of a record. Larger than any honest event, small enough that a frame holds 32 of them.
pub const RECORD_BYTES_MAX: usize = 32 * 1024;
/// Identifiers in one record, as many as the largest systems of the field take.
pub const RECORD_IDENTIFIERS_MAX: usize = 20;
/// Entries of a `params` map: sub ids, utm values and forwarded parameters, twice over.
pub const RECORD_PARAMS_MAX: usize = 64;
/// Items of one order; the record's size bounds the rest.
pub const RECORD_ITEMS_MAX: usize = 256;
/// Entries a control value may hold, over all levels: long lists travel in chunks.
pub const VALUE_ENTRIES_MAX: usize = 4096;
/// Levels of nesting in a control value: a reader without recursion needs a fixed stack.
pub const VALUE_DEPTH_MAX: usize = 8;
/// The largest time on the wire: a click id has room for 48 bits of milliseconds.
pub const TIME_MS_MAX: u64 = (1 << 48) - 1;
/// The largest brand, program, partner, link or type number: what an SQL integer key can hold.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

/// How far a record's accept time may lie behind the engine's time: the age at which an edge
/// gives up its spool. An older one is moved up to the bound.
pub const SPOOL_AGE_MAX_MS: u64 = DAY_MS;
/// How far a record's accept time may lie ahead of the engine's time: clocks of one site.
pub const ACCEPT_AHEAD_MAX_MS: u64 = 2_000;
/// How far a caller's claim may lie after the accept time, and how long after a conversion an
/// explicitly named click may have been made: the clock of a caller nobody administers.
pub const CLAIM_SKEW_MAX_MS: u64 = 5 * MINUTE_MS;

/// The click window of a program of which no terms are known: the field's usual 30 days.
pub const WINDOW_DEFAULT_MS: u64 = 30 * DAY_MS;
/// The window of impressions, unless a program says otherwise: the field's usual day.
pub const IMPRESSION_WINDOW_DEFAULT_MS: u64 = DAY_MS;
/// The longest click window; a longer one in a program's terms counts as this.
pub const WINDOW_MAX_MS: u64 = 400 * DAY_MS;
/// How much later than it happened a conversion may be reported and still find everything as it
/// was: orders uploaded once a week. Clicks and identifiers are kept that much longer.
pub const REPORT_DELAY_MAX_MS: u64 = 7 * DAY_MS;
/// How long a click stays readable after its window: late reports, late frames, skewed claims.
pub const CLICK_GRACE_MS: u64 = REPORT_DELAY_MAX_MS + SPOOL_AGE_MAX_MS + CLAIM_SKEW_MAX_MS;
/// Live clicks of one brand. At the bound the click that expires first, to the second, is evicted;
/// a conversion that names it later is answered `click_evicted`.
pub const CLICKS_LIVE_MAX: usize = 10_000_000;
/// Ids of clicks that expired or were evicted, kept to say why. The oldest are forgotten
/// first; a conversion that names a forgotten one is answered `click_unknown`.
pub const CLICKS_GONE_MAX: usize = 262_144;

/// How long an order is remembered after its first report, so that a repeat is recognised.
pub const ORDER_AGE_MAX_MS: u64 = 400 * DAY_MS;
/// Orders of one brand. At the bound the oldest is forgotten; its repeat counts as new.
pub const ORDERS_MAX: usize = 10_000_000;
/// Identifiers kept for one order over all its reports; the strongest are kept.
pub const ORDER_IDENTIFIERS_MAX: usize = 20;

/// How long an event id is remembered: twice the longest time a frame can be on its way.
pub const RECENT_EVENT_AGE_MAX_MS: u64 = 2 * SPOOL_AGE_MAX_MS;
/// Event ids remembered for one brand, clicks apart. At the bound the oldest are forgotten:
/// their frames' sequences still guard against a repeat.
pub const RECENT_EVENTS_MAX: usize = 4_000_000;

/// How long a silent producer's sequences are remembered.
pub const PRODUCER_IDLE_MAX_MS: u64 = 2 * SPOOL_AGE_MAX_MS;
/// Producers remembered; one is one boot of an edge process. The longest idle goes first.
pub const PRODUCERS_MAX: usize = 4096;
/// Separate ranges of one producer. At the bound the lowest range is forgotten, never a gap
/// filled: event ids still guard against a repeat, and nothing unseen counts as seen.
pub const PRODUCER_RANGES_MAX: usize = 1024;

/// Brands of one partition. A frame for one more is quarantined with `brands_max`.
pub const BRANDS_MAX: usize = 65_536;
/// Programs, and event types, of one brand. A control for one more is not applied.
pub const PROGRAMS_MAX: usize = 65_536;
/// Event types of which one contract names the click window; of more the rest is not read.
pub const EVENT_WINDOWS_MAX: usize = 1_024;
/// Enrolments of one brand, and terms that name a window. A control for one more is not applied.
pub const ENROLMENTS_MAX: usize = 4_000_000;

/// Promo codes of one brand, deleted ones included: an older change that comes late must not
/// bring one back. A code for each of some hundred thousand partners. A control for one more is
/// not applied.
pub const PROMO_CODES_MAX: usize = 1_000_000;

/// Former versions kept of each object of the configuration, for decisions that are made again by
/// the terms of their time. Of more changes than that the oldest kept stands for those before.
pub const FORMER_VERSIONS_MAX: usize = 16;

/// Entries of one list of the configuration of fraud scoring; the rest are not taken. What one
/// record can hold.
pub const FRAUD_LIST_MAX: usize = 1024;
/// Identifiers that are known as a partner's own; the first are taken.
pub const PARTNER_IDENTIFIERS_MAX: usize = 64;
/// Rules in force that are kept ready for the next click; at the bound all are made anew.
pub const RULESETS_READY_MAX: usize = 4096;
/// Patterns of the list of crawlers; the rest are not taken. Five times what is published.
pub const BOT_PATTERNS_MAX: usize = 8192;
/// Bytes of all those patterns; those beyond are not taken.
pub const BOT_PATTERN_BYTES_MAX: usize = 512 * 1024;
/// Parts in which the list of crawlers may come.
pub const BOT_CHUNKS_MAX: u64 = 256;
/// User agents whose class is kept ready for the next click; a new one takes the place of another.
pub const AGENTS_READY_MAX: usize = 4096;
/// Bytes of a user agent that are looked at.
pub const AGENT_BYTES_MAX: usize = 1024;

/// Clicks of one brand that later evidence may change; of more the oldest are settled. Some
/// 150 bytes each.
pub const FRAUD_PENDING_MAX: usize = 1_000_000;
/// How long after it happened a click stays one of them: until a frame that is late may come no
/// more for the day on which it did, and counters of that day have been compared once more.
pub const FRAUD_PENDING_AGE_MS: u64 = 2 * DAY_MS + 4 * HOUR_MS;
/// How long after a day its counters are compared once more: nothing late comes for it then.
pub const FRAUD_CLOSE_AFTER_MS: u64 = SPOOL_AGE_MAX_MS + 2 * HOUR_MS;
/// How long before it was accepted a click may have happened, for counters; an earlier one, which
/// only a server can claim, counts as that.
pub const FRAUD_CLAIM_AGE_MAX_MS: u64 = HOUR_MS;
/// Counters of one brand, 42 bytes each. At the bound the oldest goes that was not counted in since
/// it was last asked to: what it counted begins anew.
pub const FRAUD_TALLIES_MAX: usize = 4_000_000;
/// Clicks of one brand whose findings are kept; of more those noted first are forgotten, and their
/// conversions inherit nothing.
pub const FRAUD_FINDINGS_MAX: usize = 2_000_000;
/// Counters of one day that are compared once more when it is over; of further ones the last
/// comparison stands.
pub const FRAUD_CLOSING_MAX: usize = 65_536;
/// Versions of the address lists that decisions name; of more the oldest is forgotten, and what is
/// decided again that was looked up in it names none. A year of daily ones.
pub const FRAUD_LISTS_MAX: usize = 366;
/// Clicks that are scored again in one event for what other clicks say of them, and as many for
/// what is known of their source; the rest wait for the next.
pub const FRAUD_RESCORED_MAX: usize = 256;
/// Stretches of clicks that wait to be scored again; of more the oldest keep their scores.
pub const FRAUD_WORK_MAX: usize = 65_536;
/// Clicks of one client that are looked at before, and after, one of them.
pub const CLIENT_STEPS_MAX: usize = 32;
/// Clicks of one client that a late one is moved past to its place; one that belongs further back
/// is by itself.
pub const CLIENT_WALK_MAX: usize = 256;
/// Equal gaps in a row that are told apart.
pub const CADENCE_GAPS_MAX: u64 = 16;

/// Epochs of a source's counts, each as long as their half-life. What is older than them weighs
/// less than a sixteenth and is let go.
pub const SOURCE_EPOCHS: usize = 4;
/// Sources of clicks, partners and programs of one brand that are counted. The one whose last click
/// is the oldest is let go, and begins anew.
pub const SOURCES_MAX: usize = 65_536;
/// Sources of one partner in one program, so that a partner with a sub id of its own for each click
/// takes nobody's place. The one whose last click is the oldest is let go.
pub const SOURCE_SUBS_MAX: usize = 256;
/// Clicks of all sources of one brand that are scored again when what is known of their source
/// changes, 24 bytes each; of more the oldest keep their scores.
pub const SOURCE_CLICKS_MAX: usize = 4_000_000;
/// How long after it was taken in a click is one of them: a flood is known by what became of days.
pub const SOURCE_CLICK_AGE_MAX_MS: u64 = 7 * DAY_MS;
/// Sources, partners and programs that are looked at in one event for whether their sources are
/// to be judged though nothing has touched them; the rest wait for the next.
pub const SOURCES_JUDGED_MAX: usize = 64;
/// Sets of conversions of one brand that have something in common, of some days. The oldest is let
/// go; what comes later is not compared with it.
pub const REPEATS_MAX: usize = 1_000_000;
/// Conversions of such a set that are known by their ids, and decided again when the set grows; of
/// more the number alone is known.
pub const REPEAT_CONVERSIONS_MAX: usize = 64;
/// Orders of the last month that are remembered by the clicks they rest on, so that they are
/// decided again when a click's verdict changes. The oldest is let go first and keeps its decision.
pub const RESTING_ORDERS_MAX: usize = 1_000_000;
/// How long after it was accepted an order is decided again because of a click's verdict.
pub const RESTING_AGE_MAX_MS: u64 = 31 * DAY_MS;

/// Live neighbours an identifier may have; with one more it is a hub, neither read nor crossed.
pub const NEIGHBOURS_MAX: usize = 48;
/// Clicks kept at one identifier; the newest are kept.
pub const NODE_CLICKS_MAX: usize = 64;
/// Identifiers of one observation that are linked; the strongest are taken.
pub const OBSERVATION_IDENTIFIERS_MAX: usize = 8;
/// Identifiers one walk may meet unless a program says otherwise; it stops there and says
/// `truncated`. The field's systems keep 50 a person.
pub const MEMBERS_DEFAULT: usize = 64;
/// The most identifiers a program may have a walk meet.
pub const MEMBERS_MAX: usize = 256;
/// Steps a walk goes from its starts unless a program says otherwise.
pub const HOPS_DEFAULT: usize = 8;
/// The most steps a program may have a walk go.
pub const HOPS_MAX: usize = 16;
/// Identifiers of one lookup in bulk: as many as one record may hold.
pub const LOOKUP_IDENTIFIERS_MAX: usize = RECORD_IDENTIFIERS_MAX;
/// Orders of the last day that are remembered by their identifiers, so that evidence that arrives
/// late finds them. The oldest is let go first; late evidence then moves it no more.
pub const WAITING_ORDERS_MAX: usize = 1_000_000;
/// Orders that one late event is looked at for: a visitor has fewer in a day, and no event may
/// cost more than milliseconds. The rest keep their decisions.
pub const REVISITED_ORDERS_MAX: usize = 64;
/// Identifiers, links and touches that one late event has looked at over all the orders that it
/// concerns: some milliseconds of work. The order that passes it is decided, and no further one.
pub const REVISITED_WORK_MAX: usize = 16_384;
/// Touches that share one conversion; of more the newest do. Far more than any honest path, few
/// enough that each is explained.
pub const CREDITS_MAX: usize = 64;
/// Candidate clicks an explanation names; the newest are named and the rest counted.
pub const CANDIDATES_EXPLAINED_MAX: usize = 100;
/// Links cut, and hubs, that an explanation names; the rest are counted. Browsers alone can have a
/// thousand links cut in one walk.
pub const CUT_EXPLAINED_MAX: usize = 100;
/// How long an identifier is kept after its links have died, so that no late record misses it.
pub const IDENTIFIER_GRACE_MS: u64 = REPORT_DELAY_MAX_MS + SPOOL_AGE_MAX_MS;

/// Rows of one kind that are dropped at a time because they have expired: everything a brand has
/// may expire at once, and no event waits for all of it. More than one event brings in.
pub const SWEEP_ROWS_MAX: usize = 64;

/// Bytes of one identifier's value before it is digested; a longer one is blocked.
pub const IDENTIFIER_BYTES_MAX: usize = 1024;
/// Bytes of an e-mail address (RFC 5321, 4.5.3.1.3).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Fewest digits of an international telephone number, country code included.
pub const PHONE_DIGITS_MIN: usize = 7;
/// Most digits of an international telephone number (E.164).
pub const PHONE_DIGITS_MAX: usize = 15;

/// Bytes of a head that the hot lane reads: one line of the ordinary lane, so that none of the
/// ordinary bounds can be passed in it.
pub const HOT_HEAD_BYTES_MAX: usize = 8190;
/// Header lines of such a head: browsers send fifteen, proxies add five.
pub const HOT_HEADERS_MAX: usize = 64;
/// Bytes read of a connection at once, and so the most that is held of one while its answer waits:
/// two heads, of which the second may be whole when the first is answered.
pub const HOT_READ_BYTES: usize = 16 * 1024;
/// Connections served in one turn of the event loop, each with one request, and events heard of
/// them: some 2 ms. What makes clicks safe has its own turns between these.
pub const HOT_SERVED_MAX: usize = 256;
/// Connections taken in one turn of the event loop, for the same reason.
pub const HOT_ACCEPTS_MAX: usize = 64;
/// Of the connections a process may have, in percent: with so many an idle one is closed as early
/// as a silent one, so that there is room for those who come.
pub const HOT_CROWDED_PERCENT: usize = 75;
/// Links held ready for the hot lane, some 600 bytes each. At the bound all are made ready anew.
pub const HOT_LINKS_MAX: usize = 262_144;
/// Brands whose digests are begun ahead for the hot lane, a kilobyte each. At the bound all are
/// begun anew.
pub const HOT_BRANDS_MAX: usize = 4096;
/// Hosts whose registrable domain the hot lane remembers: there are as many as anybody names. At
/// the bound all are forgotten.
pub const HOT_SITES_MAX: usize = 1024;
/// Event types held ready for the hot lane, some 300 bytes each: of some thousands of programs. At
/// the bound all are made ready anew.
pub const HOT_EVENT_TYPES_MAX: usize = 65_536;

/// The bounds of state that a test sets lower, so that each can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`CLICKS_LIVE_MAX`].
    pub clicks_live_max: usize,
    /// See [`CLICKS_GONE_MAX`].
    pub clicks_gone_max: usize,
    /// See [`ORDERS_MAX`].
    pub orders_max: usize,
    /// See [`RECENT_EVENTS_MAX`].
    pub recent_events_max: usize,
    /// See [`PRODUCERS_MAX`].
    pub producers_max: usize,
    /// See [`PRODUCER_RANGES_MAX`].
    pub producer_ranges_max: usize,
    /// See [`BRANDS_MAX`].
    pub brands_max: usize,
    /// See [`PROGRAMS_MAX`].
    pub programs_max: usize,
    /// See [`ENROLMENTS_MAX`].
    pub enrolments_max: usize,
    /// See [`PROMO_CODES_MAX`].
    pub promo_codes_max: usize,
    /// See [`FRAUD_PENDING_MAX`].
    pub fraud_pending_max: usize,
    /// See [`FRAUD_TALLIES_MAX`].
    pub fraud_tallies_max: usize,
    /// See [`FRAUD_FINDINGS_MAX`].
    pub fraud_findings_max: usize,
    /// See [`SOURCE_CLICKS_MAX`].
    pub source_clicks_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clicks_live_max: CLICKS_LIVE_MAX,
            clicks_gone_max: CLICKS_GONE_MAX,
            orders_max: ORDERS_MAX,
            recent_events_max: RECENT_EVENTS_MAX,
            producers_max: PRODUCERS_MAX,
            producer_ranges_max: PRODUCER_RANGES_MAX,
            brands_max: BRANDS_MAX,
            programs_max: PROGRAMS_MAX,
            enrolments_max: ENROLMENTS_MAX,
            promo_codes_max: PROMO_CODES_MAX,
            fraud_pending_max: FRAUD_PENDING_MAX,
            fraud_tallies_max: FRAUD_TALLIES_MAX,
            fraud_findings_max: FRAUD_FINDINGS_MAX,
            source_clicks_max: SOURCE_CLICKS_MAX,
        }
    }
}
