//! Rows of clicks as a Python sequence, made into tuples one at a time: as lists of tuples they
//! would cost more than their insert.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_engine::engine::click_rows::{split, ClickRow};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PySlice, PyString, PyTuple};

use crate::error::raise;

/// Rows of clicks among outcomes, which are kept as they came.
#[pyclass(frozen, name = "ClickRows", module = "headwater._core")]
#[derive(Default)]
pub(crate) struct PyClickRows {
    outcomes: Vec<Arc<PyBackedBytes>>,
    /// Which of the outcomes, and where in it.
    places: Vec<(usize, usize)>,
}

impl PyClickRows {
    /// The row at a place, if there is one.
    fn row(&self, py: Python<'_>, at: usize) -> Option<PyResult<ClickRow<'_>>> {
        let (number, start) = self.places.get(at)?;
        let outcomes = self.outcomes.get(*number)?;
        Some(ClickRow::read(outcomes, *start).map_err(|error| raise(py, &error)))
    }

    /// All of them.
    pub(crate) fn each<'a>(
        &'a self,
        py: Python<'a>,
    ) -> impl Iterator<Item = PyResult<ClickRow<'a>>> {
        (0..self.places.len()).filter_map(move |at| self.row(py, at))
    }
}

#[pymethods]
impl PyClickRows {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn __len__(&self) -> usize {
        self.places.len()
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let length = isize::try_from(self.places.len()).unwrap_or(isize::MAX);
        if let Ok(slice) = index.cast::<PySlice>() {
            let indices = slice.indices(length)?;
            let mut places = Vec::with_capacity(indices.slicelength);
            let mut at = indices.start;
            for _ in 0..indices.slicelength {
                places.extend(usize::try_from(at).ok().and_then(|at| self.places.get(at)));
                at += indices.step;
            }
            return Ok(Bound::new(py, Self { outcomes: self.outcomes.clone(), places })?.into_any());
        }
        let at: isize = index.extract()?;
        let at = usize::try_from(if at < 0 { at + length } else { at }).ok();
        match at.and_then(|at| self.row(py, at)) {
            Some(row) => Ok(Words::default().plain(py, &row?)?.into_any()),
            None => Err(PyIndexError::new_err("there is no such row")),
        }
    }

    fn __iter__(rows: Py<Self>) -> PyClickRowIterator {
        PyClickRowIterator { rows, next: 0, is_for_driver: false, words: Words::default() }
    }

    /// The rows as a driver takes them.
    fn parameters(rows: Py<Self>) -> PyClickRowIterator {
        PyClickRowIterator { rows, next: 0, is_for_driver: true, words: Words::default() }
    }

    /// These rows and others.
    fn __add__(&self, more: &Self) -> Self {
        let mut outcomes = self.outcomes.clone();
        let mut places = self.places.clone();
        places.extend(more.places.iter().map(|(number, start)| (number + outcomes.len(), *start)));
        outcomes.extend(more.outcomes.iter().cloned());
        Self { outcomes, places }
    }

    /// How many there are with the same flags and verdict.
    fn standings<'a>(&'a self, py: Python<'a>) -> PyResult<BTreeMap<(u64, &'a str), u64>> {
        let mut found = BTreeMap::new();
        for row in self.each(py) {
            let row = row?;
            *found.entry((row.flags, row.verdict)).or_insert(0) += 1;
        }
        Ok(found)
    }
}

/// Goes through rows.
#[pyclass(name = "ClickRowIterator", module = "headwater._core")]
pub(crate) struct PyClickRowIterator {
    rows: Py<PyClickRows>,
    next: usize,
    is_for_driver: bool,
    words: Words,
}

#[pymethods]
impl PyClickRowIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some(row) = self.rows.get().row(py, self.next) else { return Ok(None) };
        let row = row?;
        self.next += 1;
        let made = if self.is_for_driver {
            self.words.for_driver(py, &row)
        } else {
            self.words.plain(py, &row)
        };
        made.map(Some)
    }
}

/// The few words that stand in all rows, each made once.
#[derive(Default)]
struct Words(Vec<Py<PyString>>);

impl Words {
    const KEPT_MAX: usize = 16;

    fn word<'py>(&mut self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
        for word in &self.0 {
            if word.bind(py).to_str()? == text {
                return Ok(word.bind(py).clone().into_any());
            }
        }
        let word = PyString::new(py, text);
        if self.0.len() < Self::KEPT_MAX {
            self.0.push(word.clone().unbind());
        }
        Ok(word.into_any())
    }

    /// With `bytes`.
    fn plain<'py>(&mut self, py: Python<'py>, row: &ClickRow<'_>) -> PyResult<Bound<'py, PyTuple>> {
        self.tuple(py, row, |bytes| PyBytes::new(py, bytes).into_any())
    }

    /// With `bytearray`: sqlite3 looks for adapters of `bytes` at every value, which takes longer
    /// than to bind it.
    fn for_driver<'py>(
        &mut self,
        py: Python<'py>,
        row: &ClickRow<'_>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        self.tuple(py, row, |bytes| PyByteArray::new(py, bytes).into_any())
    }

    fn tuple<'py>(
        &mut self,
        py: Python<'py>,
        row: &ClickRow<'_>,
        blob: impl Fn(&[u8]) -> Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let number = |value: u64| value.into_pyobject(py).map(Bound::into_any);
        let accept_ms = number(row.accept_ms)?;
        let touch_ms =
            if row.touch_ms == row.accept_ms { accept_ms.clone() } else { number(row.touch_ms)? };
        PyTuple::new(
            py,
            [
                blob(row.click_id),
                number(row.brand)?,
                number(row.program)?,
                number(row.partner)?,
                number(row.link)?,
                accept_ms,
                touch_ms,
                number(row.trust)?,
                number(row.source)?,
                number(row.flags)?,
                self.word(py, row.verdict)?,
                self.word(py, row.counted)?,
                number(row.is_unique)?,
                number(row.score)?,
                number(row.raw_ppm)?,
                blob(row.fraud),
                blob(row.record),
            ],
        )
    }
}

/// The rows of clicks of encoded outcomes, and the outcomes without them.
#[pyfunction]
fn split_outcomes<'py>(
    py: Python<'py>,
    outcomes: PyBackedBytes,
) -> PyResult<(PyClickRows, Bound<'py, PyBytes>)> {
    let found = py.detach(|| split(&outcomes)).map_err(|error| raise(py, &error))?;
    let places = found.starts.into_iter().map(|start| (0, start)).collect();
    let rows = PyClickRows { outcomes: vec![Arc::new(outcomes)], places };
    Ok((rows, PyBytes::new(py, &found.rest)))
}

/// Adds the classes and the function to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyClickRows>()?;
    module.add_function(wrap_pyfunction!(split_outcomes, module)?)
}
