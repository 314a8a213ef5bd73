//! What is the same for all brands: the list of crawlers, and the network's layer of rules.
//!
//! Every partition is told the same. Of two changes of one part the one with the larger revision
//! counts, whatever the order in which they arrive.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agents::BotList;
use super::rules::Layer;
use crate::attribution::rules::for_members;
use crate::limits::{BOT_CHUNKS_MAX, BOT_PATTERNS_MAX};
use crate::msgpack::Reader;
use crate::record::Control;

/// The object whose changes are parts of the list of crawlers.
const BOT_LIST: &str = "bot_list";
/// The object whose changes are the network's layer.
const FRAUD_RULES: &str = "fraud_rules";

/// One part of a list of crawlers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) revision: u64,
    pub(crate) version: String,
    /// Of how many parts it is one.
    pub(crate) chunks: u64,
    pub(crate) patterns: Vec<String>,
}

/// What is the same for all brands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// The list of crawlers in force.
    pub bots: Arc<BotList>,
    /// The network's layer of rules in force.
    pub network: Arc<Layer>,
    /// Revision of the change that made the layer.
    pub(crate) network_revision: u64,
    /// The newest part of each place, in force or not.
    pub(crate) chunks: BTreeMap<u64, Chunk>,
}

impl Shared {
    /// Whether changes of an object of the whole deployment are taken here.
    pub fn takes(object: &str) -> bool {
        matches!(object, BOT_LIST | FRAUD_RULES)
    }

    /// Takes a change in; returns whether it is the newest of its object.
    pub fn apply(&mut self, control: &Control<'_>) -> bool {
        match control.object {
            BOT_LIST => self.take_chunk(control),
            FRAUD_RULES if control.revision > self.network_revision => {
                self.network_revision = control.revision;
                self.network = Arc::new(Layer::read(control.value));
                true
            }
            _ => false,
        }
    }

    /// What cannot be a part is taken and says nothing: it is not to be sent again.
    fn take_chunk(&mut self, control: &Control<'_>) -> bool {
        let Some((place, chunk)) = read_chunk(control) else { return true };
        if self.chunks.get(&place).is_some_and(|old| old.revision >= chunk.revision) {
            return false;
        }
        let (version, count) = (chunk.version.clone(), chunk.chunks);
        self.chunks.insert(place, chunk);
        let is_of_it = |at: &u64| {
            let chunk = self.chunks.get(at);
            chunk.is_some_and(|chunk| chunk.version == version && chunk.chunks == count)
        };
        if (0..count).all(|at| is_of_it(&at)) {
            let parts = self.chunks.range(0..count).flat_map(|(_, chunk)| &chunk.patterns);
            let patterns = parts.take(BOT_PATTERNS_MAX).cloned().collect();
            self.bots = Arc::new(BotList::compile(&version, patterns));
        }
        true
    }
}

fn read_chunk(control: &Control<'_>) -> Option<(u64, Chunk)> {
    let mut chunk = Chunk { revision: control.revision, ..Chunk::default() };
    let (mut place, mut is_whole) = (None, false);
    for_members(control.value, |name, member| {
        let mut reader = Reader::new(member);
        match name {
            "version" => chunk.version = reader.str().unwrap_or_default().to_owned(),
            "chunk" => place = reader.uint().ok(),
            "chunks" => chunk.chunks = reader.uint().unwrap_or_default(),
            "patterns" => is_whole = read_patterns(reader, &mut chunk.patterns).is_some(),
            _ => {}
        }
    });
    let is_fit = is_whole && (1..=BOT_CHUNKS_MAX).contains(&chunk.chunks);
    place.filter(|place| is_fit && *place < chunk.chunks).map(|place| (place, chunk))
}

fn read_patterns(mut reader: Reader<'_>, patterns: &mut Vec<String>) -> Option<()> {
    for _ in 0..reader.array_max(BOT_PATTERNS_MAX).ok()? {
        let pattern = reader.value().ok()?;
        patterns.extend(Reader::new(pattern).str().ok().map(str::to_owned));
    }
    Some(())
}
