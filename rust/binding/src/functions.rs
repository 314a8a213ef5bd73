//! The functions of the module.

use std::collections::BTreeMap;

use headwater_engine::fraud::Signal;
use headwater_engine::identity::digest;
use headwater_engine::record::{self, fields, replace, Kind, Record};
use headwater_engine::Id;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;

use crate::error::raise;
use crate::listener::PyHotRecords;

/// A record, or records of the hot lane.
#[derive(FromPyObject)]
enum PartIn<'py> {
    Record(PyBackedBytes),
    Records(PyRef<'py, PyHotRecords>),
}

/// Put records into one frame. Each is checked first, but for those of the hot lane, which were.
#[pyfunction]
fn encode_frame<'py>(
    py: Python<'py>,
    partition: u16,
    producer: u64,
    first_sequence: u64,
    records: Vec<PartIn<'py>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut count = 0;
    let mut parts = Vec::with_capacity(records.len());
    for part in &records {
        match part {
            PartIn::Record(record) => {
                record::check_record(record).map_err(|error| raise(py, &error))?;
                count += 1;
                parts.push(&**record);
            }
            PartIn::Records(records) => {
                count += records.0.len();
                parts.push(records.0.bytes());
            }
        }
    }
    record::join_frame(partition, producer, first_sequence, count, &parts)
        .map(|frame| PyBytes::new(py, &frame))
        .map_err(|error| raise(py, &error))
}

/// Check a frame's magic, version, lengths and checksum, and read its header:
/// version, partition, count, producer, first sequence.
#[pyfunction]
fn frame_header(py: Python<'_>, frame: &[u8]) -> PyResult<(u8, u16, u16, u64, u64)> {
    record::frame_header(frame)
        .map(|h| (record::frame::VERSION, h.partition, h.count, h.producer, h.first_sequence))
        .map_err(|error| raise(py, &error))
}

/// A frame with digests replaced, each former by its latter; a checksum that was right is again.
#[pyfunction]
fn replace_in_frame<'py>(
    py: Python<'py>,
    frame: &[u8],
    pairs: Vec<(Id, Id)>,
) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &replace::replace_in_frame(frame, &pairs))
}

/// A set of digests to look for.
#[pyclass(frozen, name = "Digests", module = "headwater._core")]
pub(crate) struct PyDigests(replace::Digests);

#[pymethods]
impl PyDigests {
    #[new]
    fn new(digests: Vec<Id>) -> Self {
        Self(replace::Digests::new(digests))
    }

    /// Those of the set that stand in some bytes, anywhere.
    fn among<'py>(&self, py: Python<'py>, data: &[u8]) -> Vec<Bound<'py, PyBytes>> {
        self.0.among(data).iter().map(|digest| PyBytes::new(py, digest)).collect()
    }
}

/// Check that bytes are exactly one valid record.
#[pyfunction]
fn validate_record(py: Python<'_>, record: &[u8]) -> PyResult<()> {
    Record::decode(record).map(|_| ()).map_err(|error| raise(py, &error))
}

/// The names of the fields in wire order: of every kind's body, and of `head`, `identifier`,
/// `client`, `network`, `request`, `money` and `item`.
#[pyfunction]
fn record_fields() -> BTreeMap<&'static str, Vec<&'static str>> {
    let parts = [
        ("head", fields::HEAD),
        ("identifier", fields::IDENTIFIER),
        ("client", fields::CLIENT),
        ("network", fields::NETWORK),
        ("request", fields::REQUEST),
        ("money", fields::MONEY),
        ("item", fields::ITEM),
    ];
    let kinds = Kind::ALL.into_iter().map(|kind| (kind.name(), fields::of(kind)));
    kinds.chain(parts).map(|(name, fields)| (name, fields.to_vec())).collect()
}

/// The keyed digest of an identifier's value, or None when the value is blocked.
#[pyfunction]
#[pyo3(signature = (key, brand, type_name, value, default_country=None))]
fn identifier_digest<'py>(
    py: Python<'py>,
    key: &[u8],
    brand: u64,
    type_name: &str,
    value: &str,
    default_country: Option<&str>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    digest::identifier_digest(key, brand, type_name, value, default_country)
        .map(|digest| digest.map(|digest| PyBytes::new(py, &digest)))
        .map_err(|error| raise(py, &error))
}

/// The keyed digest of the parts that make a conversion one and the same.
#[pyfunction]
fn conversion_digest<'py>(
    py: Python<'py>,
    key: &[u8],
    parts: Vec<PyBackedStr>,
) -> PyResult<Bound<'py, PyBytes>> {
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    digest::conversion_digest(key, &parts)
        .map(|digest| PyBytes::new(py, &digest))
        .map_err(|error| raise(py, &error))
}

/// A line of the table of signals: number, code, family, stage, hardness, mode, weight, low, high,
/// unit, window in seconds, meaning.
type SignalLine = (
    u64,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u8,
    u64,
    u64,
    &'static str,
    u32,
    &'static str,
);

/// The table of signals of fraud scoring, in the order of their numbers.
#[pyfunction]
fn signals() -> Vec<SignalLine> {
    let line_of = |signal: &Signal| {
        let line = signal.line();
        (
            *signal as u64,
            line.code,
            line.family.code(),
            line.stage.code(),
            line.hardness.code(),
            line.mode.code(),
            line.weight,
            line.low,
            line.high,
            line.unit.code(),
            line.window_s,
            line.meaning,
        )
    };
    Signal::ALL.iter().map(line_of).collect()
}

/// Adds the functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(encode_frame, module)?)?;
    module.add_function(wrap_pyfunction!(frame_header, module)?)?;
    module.add_function(wrap_pyfunction!(validate_record, module)?)?;
    module.add_function(wrap_pyfunction!(record_fields, module)?)?;
    module.add_function(wrap_pyfunction!(replace_in_frame, module)?)?;
    module.add_class::<PyDigests>()?;
    module.add_function(wrap_pyfunction!(identifier_digest, module)?)?;
    module.add_function(wrap_pyfunction!(conversion_digest, module)?)?;
    module.add_function(wrap_pyfunction!(signals, module)?)
}
