//! The engine as a Python object.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Mutex, MutexGuard};

use headwater_engine::engine::Position;
use headwater_engine::snapshot::SnapshotView;
use headwater_engine::{Engine, Error, Id, Options, Outcomes};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;

use crate::error::{raise, raise_lock, raise_poisoned};

struct State {
    engine: Engine,
    poisoned_at: Option<Position>,
}

/// Why a call failed, before there is an interpreter to say it in.
enum Failure {
    Refused(Error),
    Poisoned(Position),
    Lock,
}

impl Failure {
    fn raise(&self, py: Python<'_>) -> PyErr {
        match self {
            Self::Refused(error) => raise(py, error),
            Self::Poisoned(position) => raise_poisoned(py, *position),
            Self::Lock => raise_lock(),
        }
    }
}

/// The state machine of one partition.
#[pyclass(frozen, name = "Engine", module = "headwater._core")]
pub(crate) struct PyEngine {
    state: Mutex<State>,
}

impl PyEngine {
    /// Runs `work` on the engine without the interpreter lock. A panic poisons the engine at
    /// the position `work` had noted.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Engine, &mut Position) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let mut state: MutexGuard<'_, State> = self.state.lock().map_err(|_| Failure::Lock)?;
            if let Some(position) = state.poisoned_at {
                return Err(Failure::Poisoned(position));
            }
            let mut position = state.engine.position();
            let engine = &mut state.engine;
            // The engine may be left half changed; it is never used again after a panic.
            match catch_unwind(AssertUnwindSafe(|| work(engine, &mut position))) {
                Ok(result) => result.map_err(Failure::Refused),
                Err(_) => {
                    state.poisoned_at = Some(position);
                    Err(Failure::Poisoned(position))
                }
            }
        })
        .map_err(|failure| failure.raise(py))
    }
}

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (partition, snapshot=None, panic_on=None))]
    fn new(
        py: Python<'_>,
        partition: u16,
        snapshot: Option<PyBackedBytes>,
        panic_on: Option<Id>,
    ) -> PyResult<Self> {
        let options = Options { panic_on, ..Options::default() };
        let engine = match snapshot {
            Some(bytes) => py
                .detach(|| Engine::restore(partition, &bytes, options))
                .map_err(|error| raise(py, &error))?,
            None => Engine::new(partition, options),
        };
        Ok(Self { state: Mutex::new(State { engine, poisoned_at: None }) })
    }

    /// Apply entries (stream ms, stream seq, frame) in log order; the outcomes as MessagePack.
    fn apply<'py>(
        &self,
        py: Python<'py>,
        entries: Vec<(u64, u64, PyBackedBytes)>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.run(py, |engine, at| {
            engine.check(entries.iter().map(|(ms, seq, frame)| ((*ms, *seq), &**frame)))?;
            let mut outcomes = Outcomes::new();
            for (ms, seq, frame) in &entries {
                *at = (*ms, *seq);
                engine.apply(*at, frame, &mut outcomes)?;
            }
            Ok(engine.encode_outcomes(&outcomes))
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Pass over an entry that is quarantined in the ledger.
    fn skip(
        &self,
        py: Python<'_>,
        ms: u64,
        seq: u64,
        frame: PyBackedBytes,
        reason: PyBackedStr,
    ) -> PyResult<()> {
        self.run(py, |engine, _| engine.skip((ms, seq), &frame, &reason))
    }

    /// Go on from the chain digest that a rewritten entry of the archive had before.
    fn resume_chain(&self, py: Python<'_>, digest: [u8; 32]) -> PyResult<()> {
        self.run(py, |engine, _| {
            engine.resume_chain(digest);
            Ok(())
        })
    }

    /// All clicks of visitors in a window, for many lookups at a time.
    fn touches<'py>(
        &self,
        py: Python<'py>,
        brand: u64,
        lookups: PyBackedBytes,
        window_ms: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.run(py, |engine, _| engine.touches(brand, &lookups, window_ms))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The ids of live clicks by their numbers.
    fn click_ids<'py>(
        &self,
        py: Python<'py>,
        brand: u64,
        numbers: PyBackedBytes,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.run(py, |engine, _| engine.click_ids(brand, &numbers))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The state as it is now, shared until the engine moves on.
    fn view(&self, py: Python<'_>) -> PyResult<PySnapshotView> {
        self.run(py, |engine, _| Ok(PySnapshotView { view: engine.view() }))
    }

    /// The sequences seen of a producer, as inclusive ranges.
    fn ranges(&self, py: Python<'_>, producer: u64) -> PyResult<Vec<(u64, u64)>> {
        self.run(py, |engine, _| Ok(engine.ranges(producer).to_vec()))
    }

    /// The sequences seen of every producer that is not forgotten, as inclusive ranges.
    fn seen(&self, py: Python<'_>) -> PyResult<BTreeMap<u64, Vec<(u64, u64)>>> {
        self.run(py, |engine, _| Ok(engine.seen()))
    }

    /// Sizes of the state, by name.
    fn stats(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u64>> {
        self.run(py, |engine, _| Ok(engine.stats()))
    }

    /// The stream id of the newest entry applied or skipped.
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        self.run(py, |engine, _| Ok(engine.position()))
    }

    /// Engine time in milliseconds.
    #[getter]
    fn time_ms(&self, py: Python<'_>) -> PyResult<u64> {
        self.run(py, |engine, _| Ok(engine.time_ms()))
    }

    /// The chain digest up to the position, 32 bytes.
    #[getter]
    fn chain_digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let digest = self.run(py, |engine, _| Ok(*engine.chain_digest()))?;
        Ok(PyBytes::new(py, &digest))
    }
}

/// The state of an engine at one position.
#[pyclass(frozen, name = "SnapshotView", module = "headwater._core")]
pub(crate) struct PySnapshotView {
    view: SnapshotView,
}

#[pymethods]
impl PySnapshotView {
    /// The snapshot's bytes; made without the interpreter lock.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| self.view.to_bytes());
        PyBytes::new(py, &bytes)
    }

    /// The same without what erased digests leave behind in indexes.
    fn to_comparable_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| self.view.to_comparable_bytes());
        PyBytes::new(py, &bytes)
    }
}
