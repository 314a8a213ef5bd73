//! The rules of a program: which touches may earn, how they rank, and how they share.

use crate::identity::graph::{OnConflict, Traversal};
use crate::limits::{
    DAY_MS, HOPS_MAX, IMPRESSION_WINDOW_DEFAULT_MS, MEMBERS_MAX, NEIGHBOURS_MAX, WINDOW_DEFAULT_MS,
    WINDOW_MAX_MS,
};
use crate::msgpack::Reader;
use crate::record::{flags, Trust};

/// Shares of a conversion always add up to this many parts.
pub const SHARE_PPM: u64 = 1_000_000;
/// What the first, all the middle and the last touch share by position, unless a program says
/// otherwise: the split the field calls U-shaped.
const POSITION_DEFAULT_PPM: [u64; 3] = [400_000, 200_000, 400_000];
/// The half-life of a touch's weight, unless a program says otherwise.
const HALF_LIFE_DEFAULT_MS: u64 = 7 * DAY_MS;

/// What a touch is, the most deliberate first. The numbers stand in snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TouchClass {
    /// The use of a promo code that a partner owns.
    ExclusiveCoupon = 1,
    /// A click.
    Click = 2,
    /// A click the visitor did not choose: a pop-up, a redirect without a choice.
    SoftClick = 3,
    /// An advertisement that was shown.
    Impression = 4,
}

impl TouchClass {
    /// Every class, in the order in which they rank unless a program says otherwise.
    pub const ALL: [Self; 4] =
        [Self::ExclusiveCoupon, Self::Click, Self::SoftClick, Self::Impression];

    /// The class of a click by its flags; one with both counts as the lesser.
    pub fn of_click(flag_bits: u64) -> Self {
        if flag_bits & flags::IMPRESSION != 0 {
            Self::Impression
        } else if flag_bits & flags::SOFT_CLICK != 0 {
            Self::SoftClick
        } else {
            Self::Click
        }
    }

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::ExclusiveCoupon => "exclusive_coupon",
            Self::Click => "click",
            Self::SoftClick => "soft_click",
            Self::Impression => "impression",
        }
    }
}

/// How the touches of the best class share a conversion. The numbers stand in snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The last touch has all.
    LastClick = 1,
    /// The first touch has all.
    FirstClick = 2,
    /// All touches share evenly.
    Linear = 3,
    /// The first, the middle and the last have set parts.
    Position = 4,
    /// A touch's weight halves with every half-life of its age.
    TimeDecay = 5,
}

impl Model {
    /// Every model.
    pub const ALL: [Self; 5] =
        [Self::LastClick, Self::FirstClick, Self::Linear, Self::Position, Self::TimeDecay];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::LastClick => "last_click",
            Self::FirstClick => "first_click",
            Self::Linear => "linear",
            Self::Position => "position",
            Self::TimeDecay => "time_decay",
        }
    }

    /// Whether several touches may share.
    pub fn is_split(self) -> bool {
        !matches!(self, Self::LastClick | Self::FirstClick)
    }
}

/// The classes that may earn, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassOrder {
    ranked: [TouchClass; 4],
    count: usize,
}

impl ClassOrder {
    /// An order of one to four different classes; `None` for anything else.
    pub fn new(classes: &[TouchClass]) -> Option<Self> {
        let mut ranked = TouchClass::ALL;
        let repeats =
            |(at, class): (usize, &TouchClass)| classes.iter().take(at).any(|c| c == class);
        let is_plain = !classes.is_empty() && !classes.iter().enumerate().any(repeats);
        ranked.get_mut(..classes.len()).filter(|_| is_plain)?.copy_from_slice(classes);
        Some(Self { ranked, count: classes.len() })
    }

    /// The classes, the best first.
    pub fn as_slice(&self) -> &[TouchClass] {
        self.ranked.get(..self.count).unwrap_or_default()
    }

    /// The place of a class, 0 for the best; `None` when it never earns.
    pub fn rank(&self, class: TouchClass) -> Option<usize> {
        self.as_slice().iter().position(|other| *other == class)
    }
}

/// The rules of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How touches share.
    pub model: Model,
    /// Parts of the first, all the middle and the last touch; they sum to [`SHARE_PPM`].
    pub position_ppm: [u64; 3],
    /// Half-life of a touch's weight in milliseconds, at least 1.
    pub half_life_ms: u64,
    /// The classes that earn, the best first.
    pub class_order: ClassOrder,
    /// Window of clicks in milliseconds, where the event type has none of its own.
    pub click_window_ms: u64,
    /// Window of soft clicks in milliseconds; `None`: that of clicks.
    pub soft_click_window_ms: Option<u64>,
    /// Window of impressions in milliseconds.
    pub impression_window_ms: u64,
    /// Whether a click named in a report wins over all others; else it is one of them.
    pub named_click_wins: bool,
    /// Whether of each partner only the latest touch counts; `None`: in split models.
    pub per_partner_latest: Option<bool>,
    /// What is cut when two persons have met.
    pub on_conflict: OnConflict,
    /// Identifiers at which the walk stops.
    pub members_max: usize,
    /// Steps from a start beyond which nothing is crossed.
    pub hops_max: usize,
    /// Neighbours above which an identifier is a hub.
    pub neighbours_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        let walk = Traversal::new(Trust::Server);
        Self {
            model: Model::LastClick,
            position_ppm: POSITION_DEFAULT_PPM,
            half_life_ms: HALF_LIFE_DEFAULT_MS,
            class_order: ClassOrder { ranked: TouchClass::ALL, count: TouchClass::ALL.len() },
            click_window_ms: WINDOW_DEFAULT_MS,
            soft_click_window_ms: None,
            impression_window_ms: IMPRESSION_WINDOW_DEFAULT_MS,
            named_click_wins: true,
            per_partner_latest: None,
            on_conflict: walk.on_conflict,
            members_max: walk.members_max,
            hops_max: walk.hops_max,
            neighbours_max: walk.neighbours_max,
        }
    }
}

impl Rules {
    /// The rules in a program's control value, a MessagePack map. Members that are unknown, of
    /// another type or out of their range count as missing; a window that is too long counts as
    /// [`WINDOW_MAX_MS`].
    pub fn read(value: &[u8]) -> Self {
        let mut rules = Self::default();
        for_members(value, |name, member| rules.take(name, member).unwrap_or_default());
        rules
    }

    /// Sets one member; `None` when it is not a valid one.
    fn take(&mut self, name: &str, member: &[u8]) -> Option<()> {
        let mut reader = Reader::new(member);
        match name {
            "model" => self.model = choice(reader, &Model::ALL, Model::code)?,
            "position_ppm" => self.position_ppm = position(reader)?,
            "half_life_ms" => self.half_life_ms = reader.uint().ok().filter(|ms| *ms > 0)?,
            "class_order" => self.class_order = class_order(reader)?,
            "window_ms" => self.click_window_ms = window(reader)?,
            "soft_click_window_ms" => self.soft_click_window_ms = Some(window(reader)?),
            "impression_window_ms" => self.impression_window_ms = window(reader)?,
            "explicit_click" => {
                self.named_click_wins = match reader.str().ok()? {
                    "wins" => true,
                    "candidate" => false,
                    _ => return None,
                };
            }
            "per_partner_latest" => self.per_partner_latest = Some(boolean(member)?),
            "on_conflict" => {
                self.on_conflict = match reader.str().ok()? {
                    "last_auth" => OnConflict::LastAuth,
                    "isolate" => OnConflict::Isolate,
                    _ => return None,
                };
            }
            "members_max" => self.members_max = size(reader, MEMBERS_MAX)?,
            "hops_max" => self.hops_max = size(reader, HOPS_MAX)?,
            "neighbours_max" => self.neighbours_max = size(reader, NEIGHBOURS_MAX)?,
            _ => {}
        }
        Some(())
    }

    /// The window of a class in milliseconds; `event_window_ms` is the event type's own for
    /// clicks. A coupon is used with the conversion itself and has none.
    pub fn window_ms(&self, class: TouchClass, event_window_ms: Option<u64>) -> u64 {
        let click_window_ms = event_window_ms.unwrap_or(self.click_window_ms);
        match class {
            TouchClass::ExclusiveCoupon => u64::MAX,
            TouchClass::Click => click_window_ms,
            TouchClass::SoftClick => self.soft_click_window_ms.unwrap_or(click_window_ms),
            TouchClass::Impression => self.impression_window_ms,
        }
    }

    /// Whether of each partner only the latest touch counts.
    pub fn counts_latest_of_partner(&self) -> bool {
        self.per_partner_latest.unwrap_or(self.model.is_split())
    }

    /// How identifiers are walked, over the links of a trust.
    pub fn traversal(&self, trust: Trust) -> Traversal {
        Traversal {
            trust,
            members_max: self.members_max,
            hops_max: self.hops_max,
            neighbours_max: self.neighbours_max,
            on_conflict: self.on_conflict,
        }
    }
}

/// Shows each member of a MessagePack map by name; what cannot be read ends it.
pub(crate) fn for_members<'a>(value: &'a [u8], mut show: impl FnMut(&'a str, &'a [u8])) {
    let mut reader = Reader::new(value);
    for _ in 0..reader.map_max(usize::MAX).unwrap_or(0) {
        let (Ok(name), Ok(member)) = (reader.value(), reader.value()) else { return };
        if let Ok(name) = Reader::new(name).str() {
            show(name, member);
        }
    }
}

/// A window, held to the longest.
pub(crate) fn window(mut reader: Reader<'_>) -> Option<u64> {
    reader.uint().ok().map(|window_ms| window_ms.min(WINDOW_MAX_MS))
}

fn choice<T: Copy>(mut reader: Reader<'_>, all: &[T], code: fn(T) -> &'static str) -> Option<T> {
    let wanted = reader.str().ok()?;
    all.iter().copied().find(|one| code(*one) == wanted)
}

fn boolean(member: &[u8]) -> Option<bool> {
    match member {
        [0xc2] => Some(false),
        [0xc3] => Some(true),
        _ => None,
    }
}

fn size(mut reader: Reader<'_>, max: usize) -> Option<usize> {
    let wanted = usize::try_from(reader.uint().ok()?).ok()?;
    (1..=max).contains(&wanted).then_some(wanted)
}

fn position(mut reader: Reader<'_>) -> Option<[u64; 3]> {
    reader.array_of(3).ok()?;
    let mut parts = [0; 3];
    for part in &mut parts {
        *part = reader.uint_max(SHARE_PPM).ok()?;
    }
    (parts.iter().sum::<u64>() == SHARE_PPM).then_some(parts)
}

fn class_order(mut reader: Reader<'_>) -> Option<ClassOrder> {
    let count = reader.array_max(TouchClass::ALL.len()).ok()?;
    let mut classes = Vec::with_capacity(count);
    for _ in 0..count {
        let wanted = reader.str().ok()?;
        classes.extend(TouchClass::ALL.iter().find(|class| class.code() == wanted));
    }
    ClassOrder::new(&classes).filter(|_| classes.len() == count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::Writer;

    /// The rules of a map with one member.
    fn with(name: &str, write: impl FnOnce(&mut Writer)) -> Rules {
        let mut writer = Writer::new();
        writer.map(1);
        writer.str(name);
        write(&mut writer);
        Rules::read(&writer.bytes)
    }

    fn with_uint(name: &str, value: u64) -> Rules {
        with(name, |writer| writer.uint(value))
    }

    #[test]
    fn nothing_and_what_is_no_map_give_the_defaults() {
        for value in [&[][..], &[0xc0], &[0x80], &[0x93, 1, 2, 3], &[0x81, 0xa1]] {
            assert_eq!(Rules::read(value), Rules::default());
        }
        let rules = Rules::default();
        assert_eq!(rules.position_ppm.iter().sum::<u64>(), SHARE_PPM);
        assert_eq!(rules.class_order.as_slice(), TouchClass::ALL);
    }

    #[test]
    fn every_member_is_taken() {
        for model in Model::ALL {
            assert_eq!(with("model", |writer| writer.str(model.code())).model, model);
        }
        assert_eq!(with_uint("half_life_ms", 9).half_life_ms, 9);
        assert_eq!(with_uint("window_ms", 9).click_window_ms, 9);
        assert_eq!(with_uint("soft_click_window_ms", 9).soft_click_window_ms, Some(9));
        assert_eq!(with_uint("impression_window_ms", 9).impression_window_ms, 9);
        assert!(!with("explicit_click", |writer| writer.str("candidate")).named_click_wins);
        let latest = |value| with("per_partner_latest", |writer| writer.bool(value));
        assert_eq!(latest(true).per_partner_latest, Some(true));
        assert_eq!(latest(false).per_partner_latest, Some(false));
        let isolate = with("on_conflict", |writer| writer.str("isolate"));
        assert_eq!(isolate.traversal(Trust::Browser).on_conflict, OnConflict::Isolate);
    }

    #[test]
    fn sizes_of_walks_are_taken_to_their_bounds_and_not_past_them() {
        let defaults = Rules::default();
        for (name, max, size) in [
            ("members_max", MEMBERS_MAX, (|rules| rules.members_max) as fn(Rules) -> usize),
            ("hops_max", HOPS_MAX, |rules| rules.hops_max),
            ("neighbours_max", NEIGHBOURS_MAX, |rules| rules.neighbours_max),
        ] {
            let of = |value: usize| size(with_uint(name, value as u64));
            assert_eq!((of(1), of(max)), (1, max), "{name}");
            assert_eq!((of(0), of(max + 1)), (size(defaults), size(defaults)), "{name}");
        }
    }

    #[test]
    fn a_window_too_long_counts_as_the_longest() {
        for name in ["window_ms", "soft_click_window_ms", "impression_window_ms"] {
            for (value, expected) in
                [(WINDOW_MAX_MS, WINDOW_MAX_MS), (WINDOW_MAX_MS + 1, WINDOW_MAX_MS)]
            {
                let rules = with_uint(name, value);
                let windows = [
                    rules.click_window_ms,
                    rules.soft_click_window_ms.unwrap_or(0),
                    rules.impression_window_ms,
                ];
                assert!(windows.contains(&expected), "{name}");
            }
        }
    }

    #[test]
    fn what_is_not_valid_counts_as_missing() {
        let wrong = [
            with("model", |writer| writer.str("best_click")),
            with("model", |writer| writer.uint(1)),
            with_uint("half_life_ms", 0),
            with("window_ms", |writer| writer.int(-5)),
            with("soft_click_window_ms", Writer::nil),
            with("explicit_click", |writer| writer.str("loses")),
            with("per_partner_latest", |writer| writer.uint(1)),
            with("on_conflict", |writer| writer.bool(true)),
            with("members_max", |writer| writer.str("64")),
        ];
        for rules in wrong {
            assert_eq!(rules, Rules::default());
        }
        let position = |parts: &[u64]| {
            with("position_ppm", |writer| {
                writer.array(parts.len());
                parts.iter().for_each(|part| writer.uint(*part));
            })
        };
        assert_eq!(position(&[1, 2, SHARE_PPM - 3]).position_ppm, [1, 2, SHARE_PPM - 3]);
        for parts in [&[SHARE_PPM][..], &[1, 2, SHARE_PPM - 4], &[u64::MAX, 1, SHARE_PPM], &[]] {
            assert_eq!(position(parts), Rules::default());
        }
    }
}
