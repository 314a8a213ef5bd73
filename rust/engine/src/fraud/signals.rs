//! The table of signals: everything that can count against a click or a conversion, as data.
//!
//! Sources of the rules and of the default ramps and weights are named in `docs/fraud.md`.

/// Full severity, and the whole of every share in this module: 16 fractional bits.
pub const ONE: u32 = 1 << 16;

/// A group of signals that tell of the same thing: only the strongest of a group counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Automation that says what it is.
    Declared = 1,
    /// The request is not what a visitor's browser sends for a click.
    Request = 2,
    /// Where the request comes from.
    Network = 3,
    /// How often, how regular, how alike.
    Velocity = 4,
    /// The time from click to conversion, and between clicks.
    Timing = 5,
    /// What is odd about the conversion itself.
    Conversion = 6,
    /// What the source of the click is known for.
    Source = 7,
}

impl Family {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Request => "request",
            Self::Network => "network",
            Self::Velocity => "velocity",
            Self::Timing => "timing",
            Self::Conversion => "conversion",
            Self::Source => "source",
        }
    }
}

/// What a signal is scored on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Every click.
    Click,
    /// Every conversion.
    Conversion,
    /// A source of clicks (a partner and its first sub id), from what became of them; it counts for
    /// its clicks and, inherited, for their conversions.
    Source,
}

impl Stage {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Conversion => "conversion",
            Self::Source => "source",
        }
    }
}

/// What a hit may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardness {
    /// It adds to the score; at most `review` comes of it unless a program enforces it.
    Soft,
    /// General invalid traffic: the click is `filtered`, whatever the score.
    Filters,
    /// The click or conversion is rejected, whatever the score.
    Rejects,
    /// It changes how a click is counted, and accuses nobody.
    Counts,
}

impl Hardness {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Filters => "filters",
            Self::Rejects => "rejects",
            Self::Counts => "counts",
        }
    }
}

/// What a rule is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// It is not looked at.
    Off = 0,
    /// It is looked at and shown, and has no effect.
    Shadow = 1,
    /// It counts.
    Score = 2,
    /// It counts, and at full severity it rejects.
    Enforce = 3,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Off, Self::Shadow, Self::Score, Self::Enforce];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::Score => "score",
            Self::Enforce => "enforce",
        }
    }

    /// A mode by its code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == code)
    }
}

/// What `observed` and the ramp count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// It is there or it is not: observed 1, threshold 1.
    Flag,
    /// Clicks in the window.
    Clicks,
    /// Conversions in the window.
    Conversions,
    /// Milliseconds.
    Milliseconds,
    /// Hundredths: how many times the usual, or a share, of one.
    Hundredths,
    /// Parts per million of clicks that convert.
    Ppm,
    /// Different user agents.
    Agents,
    /// Equal gaps in a row.
    Gaps,
}

impl Unit {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Clicks => "clicks",
            Self::Conversions => "conversions",
            Self::Milliseconds => "milliseconds",
            Self::Hundredths => "hundredths",
            Self::Ppm => "ppm",
            Self::Agents => "agents",
            Self::Gaps => "gaps",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The stable code.
    pub code: &'static str,
    /// Its family.
    pub family: Family,
    /// What it is scored on.
    pub stage: Stage,
    /// What it may do by itself.
    pub hardness: Hardness,
    /// What it does unless a program says otherwise.
    pub mode: Mode,
    /// Points it alone gives at full severity, 0 to 100.
    pub weight: u8,
    /// From where on it has a severity, in [`Line::unit`]. With `low > high` less is worse.
    pub low: u64,
    /// From where on its severity is full.
    pub high: u64,
    /// What is counted.
    pub unit: Unit,
    /// Over how long, in seconds; 0 where there is no window.
    pub window_s: u32,
    /// In one sentence a partner manager understands.
    pub meaning: &'static str,
}

macro_rules! signals {
    ($($name:ident = $number:literal, $code:literal, $family:ident, $stage:ident, $hardness:ident,
       $mode:ident, $weight:literal, $low:literal .. $high:literal $unit:ident, $window_s:literal,
       $meaning:literal;)*) => {
        /// A signal. The numbers are those of the wire and of masks; none is used twice.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the table says what each means")]
        pub enum Signal { $($name = $number,)* }

        impl Signal {
            /// Every signal, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its line of the table.
            pub fn line(self) -> &'static Line {
                match self {$(
                    Self::$name => {
                        const LINE: Line = Line {
                            code: $code,
                            family: Family::$family,
                            stage: Stage::$stage,
                            hardness: Hardness::$hardness,
                            mode: Mode::$mode,
                            weight: $weight,
                            low: $low,
                            high: $high,
                            unit: Unit::$unit,
                            window_s: $window_s,
                            meaning: $meaning,
                        };
                        &LINE
                    }
                )*}
            }
        }
    };
}

signals! {
    KnownCrawler = 1, "GIVT_KNOWN_CRAWLER", Declared, Click, Filters, Score, 100, 1..1 Flag, 0,
        "The user agent is that of a known crawler, a link preview or a monitoring service.";
    NonBrowserAgent = 2, "GIVT_NON_BROWSER_UA", Declared, Click, Filters, Score, 100, 1..1 Flag, 0,
        "The request has no user agent, or that of a program that is no browser.";
    UnknownBrowser = 3, "GIVT_UNKNOWN_BROWSER", Declared, Click, Soft, Score, 60, 1..1 Flag, 0,
        "The user agent looks like an automated client, but is on no list.";
    FakeCrawler = 4, "GIVT_FAKE_CRAWLER", Declared, Click, Filters, Score, 100, 1..1 Flag, 0,
        "The user agent claims a search engine's crawler; the address is none of its operator's.";
    Prefetch = 5, "GIVT_PREFETCH", Request, Click, Counts, Score, 0, 1..1 Flag, 0,
        "The browser fetched the link ahead of time; it counts when the visitor goes there.";
    ImageClick = 6, "IMAGE_CLICK", Request, Click, Rejects, Score, 100, 1..1 Flag, 0,
        "The link was loaded as an image, a script or the like: nobody can have clicked it.";
    ForcedClick = 7, "FORCED_CLICK", Request, Click, Soft, Score, 80, 1..1 Flag, 0,
        "The link was loaded in a frame or by a script of the page, not by going there.";
    NoUserActivation = 8, "NO_USER_ACTIVATION", Request, Click, Soft, Score, 10, 1..1 Flag, 0,
        "The browser says that no tap, click or key led here; redirects can cause that too.";
    RequestAnomaly = 9, "REQUEST_ANOMALY", Request, Click, Soft, Score, 50, 1..1 Flag, 0,
        "The request lacks header fields that this browser always sends, or is of an old protocol.";
    AgentMismatch = 10, "UA_CH_MISMATCH", Request, Click, Soft, Score, 55, 1..1 Flag, 0,
        "The user agent and the client hints name different browsers, versions or systems.";
    MalformedId = 13, "MALFORMED_ID", Request, Click, Soft, Score, 70, 3..4 Agents, 86400,
        "One device id came with several different user agents within a day.";
    MacroUnexpanded = 14, "MACRO_UNEXPANDED", Request, Click, Soft, Score, 20, 1..1 Flag, 0,
        "A parameter holds a placeholder that the partner's system did not fill in.";
    Datacentre = 15, "GIVT_DATACENTER", Network, Click, Soft, Score, 60, 1..1 Flag, 0,
        "The address belongs to a data centre; some people reach the internet through one.";
    AnonymousAddress = 16, "ANONYMOUS_IP", Network, Click, Soft, Score, 50, 1..1 Flag, 0,
        "The address is an exit of a VPN or of Tor.";
    GeoMismatch = 17, "GEO_MISMATCH", Network, Conversion, Soft, Score, 25, 1..1 Flag, 0,
        "Click and conversion came from different countries.";
    DuplicateClick = 19, "DUPLICATE_CLICK", Velocity, Click, Counts, Score, 80, 3..8 Clicks, 60,
        "The same visitor followed the same link again within ten seconds; many repeats in a \
         minute count against it.";
    AddressVelocity = 20, "IP_VELOCITY", Velocity, Click, Soft, Score, 50, 10..30 Clicks, 3600,
        "One address made many clicks, with too few different browsers for a shared address.";
    DeviceVelocity = 21, "DEVICE_VELOCITY", Velocity, Click, Soft, Score, 70, 5..15 Clicks, 3600,
        "One browser or device made many clicks.";
    SubnetBurst = 22, "SUBNET_BURST", Velocity, Click, Soft, Score, 40, 20..80 Clicks, 3600,
        "One network made many times its usual number of clicks.";
    Cadence = 23, "CADENCE", Velocity, Click, Soft, Score, 90, 4..8 Gaps, 0,
        "Clicks followed each other at equal intervals, as a timer makes them.";
    SliceBurst = 24, "SLICE_BURST", Velocity, Click, Soft, Score, 50, 500..800 Hundredths, 3600,
        "One kind of browser makes many times its usual share of this partner's clicks.";
    IdChurn = 25, "ID_CHURN", Velocity, Click, Soft, Score, 50, 20..40 Clicks, 3600,
        "One address brings only new visitors with the same browser: cookies are thrown away.";
    TooShort = 27, "CTIT_TOO_SHORT", Timing, Conversion, Soft, Score, 80,
        10000..2000 Milliseconds, 0,
        "The conversion followed the click faster than a person can act.";
    ClickInjection = 28, "CLICK_INJECTION", Timing, Conversion, Rejects, Score, 100, 1..1 Flag, 0,
        "The click came after the customer had begun to check out: it cannot have brought them.";
    ClickFlooding = 30, "CLICK_FLOODING", Source, Source, Soft, Score, 80, 1000..1000 Clicks, 0,
        "The source makes very many clicks of which next to none convert.";
    FlatTiming = 31, "CTIT_FLAT", Timing, Source, Soft, Score, 60, 30..30 Conversions, 0,
        "The source's conversions follow its clicks at random times, as if by chance.";
    NarrowTiming = 32, "CTIT_LOW_VARIANCE", Timing, Source, Soft, Score, 60, 20..20 Conversions, 0,
        "The source's conversions all follow their clicks after nearly the same time.";
    Collision = 33, "COLLISION", Timing, Click, Soft, Score, 80, 5000..2000 Milliseconds, 5,
        "The same visitor clicked another partner's link a moment before.";
    DuplicateAddress = 35, "DUPLICATE_IP_CONVERSION", Conversion, Conversion, Soft, Score, 50,
        3..10 Conversions, 86400,
        "One address made several conversions of a kind that people make once.";
    DuplicateDevice = 36, "DUPLICATE_DEVICE", Conversion, Conversion, Soft, Score, 70,
        2..2 Conversions, 86400,
        "One browser or device made several conversions of a kind that people make once.";
    RateTooHigh = 37, "CR_TOO_HIGH", Source, Source, Soft, Score, 50, 150000..150000 Ppm, 0,
        "Far more of the source's clicks convert than of the program's.";
    DisposableEmail = 38, "LEAD_DISPOSABLE_EMAIL", Conversion, Conversion, Soft, Score, 50,
        1..1 Flag, 0, "The e-mail address is of a service for throw-away addresses.";
    ForcedReport = 39, "S2S_FORCED", Conversion, Conversion, Rejects, Score, 100, 1..1 Flag, 0,
        "The report names a click that does not exist, has expired, or is another program's.";
    SelfReferral = 40, "SELF_REFERRAL", Conversion, Conversion, Soft, Score, 60, 1..1 Flag, 0,
        "The customer is the partner itself.";
    ReferrerMismatch = 42, "REFERRER_MISMATCH", Source, Click, Soft, Score, 60, 1..1 Flag, 0,
        "The page that led here is none of those the partner has declared.";
    Blacklisted = 43, "SITE_BLACKLIST", Source, Click, Rejects, Score, 100, 1..1 Flag, 0,
        "The program has put this page or sub id on its list of refused sources.";
    SourceQuality = 44, "SOURCE_QUALITY", Source, Source, Soft, Score, 35, 200..2000 Hundredths, 0,
        "The source's clicks convert much more rarely than the program's.";
    Honeypot = 46, "HONEYPOT", Source, Click, Rejects, Score, 100, 1..1 Flag, 86400,
        "The visitor followed a link within a day that no person can see.";
    LateHijack = 48, "LAST_CLICK_HIJACK", Timing, Click, Soft, Score, 70,
        600000..600000 Milliseconds, 600,
        "The click came while the visitor was at the checkout already.";
    LeadVelocity = 49, "LEAD_VELOCITY", Conversion, Conversion, Soft, Score, 80, 2..2 Conversions,
        86400, "The same e-mail address or telephone number was used for several leads.";
    BrandBidding = 50, "BRAND_BIDDING", Source, Click, Soft, Off, 70, 1..1 Flag, 0,
        "The visitor came from a paid search result, which the program's rules forbid.";
}

impl Signal {
    /// A signal by its number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|signal| *signal as u64 == number)
    }

    /// Its bit in a mask.
    pub fn bit(self) -> u64 {
        1 << (self as u64)
    }

    /// A signal by its code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|signal| signal.line().code == code)
    }
}
