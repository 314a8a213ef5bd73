//! Event types as the edge has worked them out: what a report by the pixel means.

use std::collections::HashMap;
use std::sync::Arc;

use headwater_engine::limits::HOT_EVENT_TYPES_MAX;

/// An event type that the pixel may report now, with all that does not depend on the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The event type's number.
    pub number: u64,
    /// The program's number.
    pub program: u64,
    /// The brand's number.
    pub brand: u64,
    /// The brand's lane of the log.
    pub partition: u16,
    /// A report without an order's id is refused.
    pub needs_order: bool,
    /// Consent counts as denied when nothing is said.
    pub is_denied: bool,
    /// Registrable domain of the program's destination.
    pub site: String,
    /// The program's currency, which a report need not name.
    pub currency: String,
}

/// Event types by the program's code and their own.
#[derive(Debug, Default)]
pub(crate) struct Events {
    by_codes: HashMap<Box<str>, HashMap<Box<str>, Arc<Event>>>,
    held: usize,
}

impl Events {
    pub(crate) fn get(&self, program: &str, code: &str) -> Option<Arc<Event>> {
        self.by_codes.get(program)?.get(code).cloned()
    }

    /// Holds an event type under codes where none is held.
    pub(crate) fn hold(&mut self, program: &str, code: &str, event: Event) -> Arc<Event> {
        if self.held >= HOT_EVENT_TYPES_MAX {
            self.clear();
        }
        let event = Arc::new(event);
        self.by_codes.entry(program.into()).or_default().insert(code.into(), Arc::clone(&event));
        self.held += 1;
        event
    }

    pub(crate) fn clear(&mut self) {
        self.by_codes.clear();
        self.held = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_type_is_found_by_the_code_of_its_program_and_its_own() {
        let mut events = Events::default();
        events.hold("check", "sale", Event { number: 3, ..Event::default() });
        assert_eq!(events.get("check", "sale").map(|event| event.number), Some(3));
        for (program, code) in [("check", "Sale"), ("sale", "check"), ("", "")] {
            assert!(events.get(program, code).is_none());
        }
    }

    #[test]
    fn at_the_bound_all_event_types_are_made_ready_anew() {
        let mut events = Events::default();
        for number in 0..HOT_EVENT_TYPES_MAX {
            events.hold("check", &number.to_string(), Event::default());
        }
        assert_eq!(events.held, HOT_EVENT_TYPES_MAX);
        events.hold("check", "one-more", Event::default());
        assert_eq!(events.held, 1);
        assert!(events.get("check", "0").is_none());
    }
}
