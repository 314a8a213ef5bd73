//! The hot lane as a Python object.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use headwater_hotpath::{
    AddressLists, DayKeys, Event, HotLane, Link, Part, Ranges, Rules, Source, Taken, Token,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The attributes of `headwater.edge.hot_links.HotRules`.
#[derive(FromPyObject)]
struct RulesIn {
    identity_key: Vec<u8>,
    answer_head: String,
    pixel_head: String,
    pixel_image: Vec<u8>,
    parameters: Vec<String>,
    ad_click_ids: Vec<String>,
    reserved_paths: HashSet<String>,
    parameter_bytes_max: usize,
    user_agent_bytes_max: usize,
    referrer_bytes_max: usize,
    fetch_bytes_max: usize,
    accept_bytes_max: usize,
    language_bytes_max: usize,
    agent_brands_bytes_max: usize,
    agent_hint_bytes_max: usize,
    query_parameters_max: usize,
    forwarded_hops_max: usize,
    location_bytes_max: usize,
    cookie_age_s_max: u64,
    code_characters_max: usize,
    pixel_value_bytes_max: usize,
    amount_digits_max: usize,
    currencies: HashMap<String, u8>,
}

impl From<RulesIn> for Rules {
    fn from(given: RulesIn) -> Self {
        Self {
            identity_key: given.identity_key,
            answer_head: given.answer_head,
            pixel_head: given.pixel_head,
            pixel_image: given.pixel_image,
            parameters: given.parameters,
            ad_click_ids: given.ad_click_ids,
            reserved_paths: given.reserved_paths,
            parameter_bytes_max: given.parameter_bytes_max,
            user_agent_bytes_max: given.user_agent_bytes_max,
            referrer_bytes_max: given.referrer_bytes_max,
            fetch_bytes_max: given.fetch_bytes_max,
            accept_bytes_max: given.accept_bytes_max,
            language_bytes_max: given.language_bytes_max,
            agent_brands_bytes_max: given.agent_brands_bytes_max,
            agent_hint_bytes_max: given.agent_hint_bytes_max,
            query_parameters_max: given.query_parameters_max,
            forwarded_hops_max: given.forwarded_hops_max,
            location_bytes_max: given.location_bytes_max,
            cookie_age_s_max: given.cookie_age_s_max,
            code_characters_max: given.code_characters_max,
            pixel_value_bytes_max: given.pixel_value_bytes_max,
            amount_digits_max: given.amount_digits_max,
            currencies: given.currencies,
        }
    }
}

/// The attributes of `headwater.edge.hot_links.HotLink`.
#[derive(FromPyObject)]
struct LinkIn {
    number: u64,
    program: u64,
    partner: u64,
    brand: u64,
    partition: u16,
    flags: u64,
    expires_ms: Option<u64>,
    is_denied: bool,
    site: String,
    cookie_age_s: u64,
    head: Vec<(String, Option<String>)>,
    joint: String,
    tail: Vec<(String, Option<String>)>,
    click_param: Option<String>,
    forward: Vec<(String, String)>,
}

impl From<LinkIn> for Link {
    fn from(given: LinkIn) -> Self {
        Self {
            number: given.number,
            program: given.program,
            partner: given.partner,
            brand: given.brand,
            partition: given.partition,
            flags: given.flags,
            expires_ms: given.expires_ms,
            is_denied: given.is_denied,
            site: given.site,
            cookie_age_s: given.cookie_age_s,
            head: parts(given.head),
            joint: given.joint,
            tail: parts(given.tail),
            click_param: given.click_param,
            forward: given.forward,
        }
    }
}

fn parts(given: Vec<(String, Option<String>)>) -> Vec<Part> {
    let token = |name: String| match name.as_str() {
        "click_id" => Token::ClickId,
        "timestamp" => Token::Timestamp,
        _ => Token::Parameter(name),
    };
    given.into_iter().map(|(text, name)| Part { text, token: name.map(token) }).collect()
}

/// The attributes of `headwater.edge.hot_links.HotEvent`.
#[derive(FromPyObject)]
struct EventIn {
    number: u64,
    program: u64,
    brand: u64,
    partition: u16,
    needs_order: bool,
    is_denied: bool,
    site: String,
    currency: String,
}

impl From<EventIn> for Event {
    fn from(given: EventIn) -> Self {
        Self {
            number: given.number,
            program: given.program,
            brand: given.brand,
            partition: given.partition,
            needs_order: given.needs_order,
            is_denied: given.is_denied,
            site: given.site,
            currency: given.currency,
        }
    }
}

/// The Python object that is asked, and what went wrong with it.
struct Asked<'a, 'py> {
    source: &'a Bound<'py, PyAny>,
    error: Option<PyErr>,
}

impl<'py> Asked<'_, 'py> {
    fn note<T>(&mut self, found: PyResult<T>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    fn call<A, T>(&mut self, name: &str, arguments: A) -> Option<T>
    where
        A: pyo3::call::PyCallArgs<'py>,
        T: for<'a> FromPyObject<'a, 'py>,
    {
        let found = self.source.call_method1(name, arguments);
        let found = found.and_then(|found| found.extract().map_err(Into::into));
        self.note(found)
    }
}

impl Source for Asked<'_, '_> {
    fn link(&mut self, host: &str, code: &str) -> Option<Link> {
        let found: Option<LinkIn> = self.call("link", (host, code))?;
        found.map(Link::from)
    }

    fn event(&mut self, program: &str, code: &str) -> Option<Event> {
        let found: Option<EventIn> = self.call("event", (program, code))?;
        found.map(Event::from)
    }

    fn site(&mut self, host: &str) -> Option<String> {
        self.call("site", (host,))
    }

    fn country(&mut self, address: &str) -> Option<Option<String>> {
        self.call("country", (address,))
    }

    fn random(&mut self, count: usize) -> Vec<u8> {
        self.call("random", (count,)).unwrap_or_default()
    }
}

/// Bytes taken, the answer, the partition, the record, whether the connection ends, what the
/// request came to and why it is refused.
type TakenOut<'py> = (
    usize,
    Bound<'py, PyBytes>,
    u16,
    Bound<'py, PyBytes>,
    bool,
    &'static str,
    Option<&'static str>,
);

/// The requests for links and the pixel of one edge process.
#[pyclass(name = "HotLane", module = "headwater._core")]
pub(crate) struct PyHotLane {
    lane: HotLane,
    source: Py<PyAny>,
}

impl PyHotLane {
    /// What can be made of the first bytes of `data`.
    pub(crate) fn offer(
        &mut self,
        py: Python<'_>,
        data: &[u8],
        peer: IpAddr,
        now_ms: u64,
        date: &str,
    ) -> PyResult<Option<Taken>> {
        let source = self.source.clone_ref(py).into_bound(py);
        let mut asked = Asked { source: &source, error: None };
        let taken = self.lane.take(data, peer, now_ms, date, &mut asked);
        asked.error.map_or(Ok(taken), Err)
    }
}

#[pymethods]
impl PyHotLane {
    /// `proxies` are the ranges of trusted proxies: of IPv4, of IPv6.
    #[new]
    fn new(rules: RulesIn, proxies: (Vec<u8>, Vec<u8>), source: Py<PyAny>) -> Self {
        let proxies = Ranges::new(&proxies.0, &proxies.1);
        Self { lane: HotLane::new(rules.into(), proxies), source }
    }

    fn set_lists(
        &mut self,
        loaded_flags: u64,
        version: Option<String>,
        ranges: Vec<(u64, Bound<'_, PyBytes>, Bound<'_, PyBytes>)>,
        crawlers: Vec<String>,
        has_countries: bool,
    ) -> PyResult<()> {
        let ranges = ranges
            .into_iter()
            .map(|(flag, v4, v6)| (flag, Ranges::new(v4.as_bytes(), v6.as_bytes())))
            .collect();
        let crawlers = AddressLists::crawlers_of(&crawlers)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        self.lane.set_lists(AddressLists {
            loaded_flags,
            version,
            ranges,
            crawlers,
            has_countries,
        });
        Ok(())
    }

    fn set_keys(&mut self, day: u64, today: Option<Vec<u8>>, before: Option<Vec<u8>>) {
        self.lane.set_keys(DayKeys { day, today, before });
    }

    fn set_domains(&mut self, hosts: Vec<String>) {
        self.lane.set_domains(hosts.into_iter().collect());
    }

    #[pyo3(signature = (number, code))]
    fn forget(&mut self, number: u64, code: Option<&str>) {
        self.lane.forget(number, code);
    }

    fn forget_all(&mut self) {
        self.lane.forget_all();
    }

    /// The lock is kept: a request is the work of some microseconds.
    fn take<'py>(
        &mut self,
        py: Python<'py>,
        data: &[u8],
        peer: &str,
        now_ms: u64,
        date: &str,
    ) -> PyResult<Option<TakenOut<'py>>> {
        // One with a scope has no such address, and is the ordinary lane's.
        let Ok(peer) = peer.parse() else { return Ok(None) };
        let taken = self.offer(py, data, peer, now_ms, date)?;
        Ok(taken.map(|taken| {
            (
                taken.bytes,
                PyBytes::new(py, &taken.answer),
                taken.partition,
                PyBytes::new(py, &taken.record),
                taken.is_last,
                taken.kind.name(),
                taken.kind.reason(),
            )
        }))
    }
}
