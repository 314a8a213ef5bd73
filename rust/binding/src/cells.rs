//! Rollup cells of clicks as a Python object.

use std::collections::{BTreeMap, HashSet};

use headwater_engine::cells::{
    device, is_click, Cell, ClickCells, Origin, PartnerDay, Standing, Sums, QUARTER_MS,
};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PySet, PyTuple};

use crate::error::raise;

// Positions in a row of clicks.
const CLICK: usize = 0;
const PROGRAM: usize = 2;
const PARTNER: usize = 3;
const LINK: usize = 4;
const ACCEPT_MS: usize = 5;
const FLAGS: usize = 9;
const VERDICT: usize = 10;
const COUNTED: usize = 11;
const IS_UNIQUE: usize = 12;
const RECORD: usize = 16;

/// What a cell's clicks have in common, in the order of the ledger's columns.
type Key = (u64, u64, u64, u64, PyBackedStr, PyBackedStr, PyBackedStr);
/// Clicks summed up by rollup cell.
#[pyclass(name = "ClickCells", module = "headwater._core")]
#[derive(Default)]
pub(crate) struct PyClickCells {
    cells: ClickCells,
}

#[pymethods]
impl PyClickCells {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn __len__(&self) -> usize {
        self.cells.len()
    }

    /// Add rows of clicks, each one; those in `apart` and touches that are no clicks only name
    /// their cells.
    fn count(
        &mut self,
        py: Python<'_>,
        rows: Vec<Bound<'_, PyTuple>>,
        apart: &Bound<'_, PySet>,
    ) -> PyResult<()> {
        let has_some_apart = !apart.is_empty();
        for row in rows {
            let number = |at: usize| row.get_item(at)?.extract::<u64>();
            let verdict: PyBackedStr = row.get_item(VERDICT)?.extract()?;
            let counted: PyBackedStr = row.get_item(COUNTED)?.extract()?;
            let record: PyBackedBytes = row.get_item(RECORD)?.extract()?;
            let origin = Origin::of(&record).map_err(|error| raise(py, &error))?;
            let cell = Cell {
                program: number(PROGRAM)?,
                bucket: number(ACCEPT_MS)? / QUARTER_MS,
                partner: number(PARTNER)?,
                link: number(LINK)?,
                sub1: origin.sub1,
                country: origin.country,
                device: origin.device,
            };
            let is_unique = number(IS_UNIQUE)? != 0;
            let standing = Standing { verdict: &verdict, counted: &counted, is_unique };
            let is_apart = has_some_apart && apart.contains(row.get_item(CLICK)?)?;
            let is_counted = !is_apart && is_click(number(FLAGS)?);
            self.cells.add(&cell, standing, i64::from(is_counted));
        }
        Ok(())
    }

    /// Add so many clicks that stand alike to their cell; it may be below zero.
    fn add(
        &mut self,
        key: Key,
        verdict: PyBackedStr,
        counted: PyBackedStr,
        is_unique: bool,
        count: i64,
    ) {
        let (program, bucket, partner, link, sub1, country, device) = key;
        let (sub1, country, device) = (&*sub1, &*country, &*device);
        let cell = Cell { program, bucket, partner, link, sub1, country, device };
        let standing = Standing { verdict: &verdict, counted: &counted, is_unique };
        self.cells.add(&cell, standing, count);
    }

    /// The first quarter hour of each program.
    fn programs(&self) -> BTreeMap<u64, u64> {
        self.cells.programs()
    }

    /// The sub ids of each partner's day, in the order in which they came up.
    fn sub_ids(&self) -> BTreeMap<PartnerDay, Vec<&str>> {
        self.cells.sub_ids()
    }

    /// Put the cells of some sub ids, each of a partner's day, into those of `rest`.
    fn sum_up(&mut self, sub_ids: HashSet<(PartnerDay, String)>, rest: &str) {
        self.cells.sum_up(&sub_ids, rest);
    }

    /// The rows of those that are not all zero, in the order of their keys.
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.cells.sorted().into_iter().map(|(cell, sums)| row_of(py, &cell, sums)).collect()
    }

    /// The cells as MessagePack: an array of arrays, of what they have in common and their sums.
    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.cells.encode())
    }

    /// Add what `encode` gave.
    fn merge(&mut self, py: Python<'_>, encoded: &[u8]) -> PyResult<()> {
        self.cells.merge(encoded).map_err(|error| raise(py, &error))
    }
}

fn row_of<'py>(py: Python<'py>, cell: &Cell<'_>, sums: &Sums) -> PyResult<Bound<'py, PyTuple>> {
    let numbers =
        [0, cell.program, cell.bucket, cell.partner, cell.link].map(|n| n.into_pyobject(py));
    let texts = [cell.sub1, cell.country, cell.device].map(|text| text.into_pyobject(py));
    let sums = sums.map(|sum| sum.into_pyobject(py));
    let mut fields: Vec<Bound<'py, PyAny>> = Vec::with_capacity(16);
    for number in numbers {
        fields.push(number?.into_any());
    }
    for text in texts {
        fields.push(text?.into_any());
    }
    for sum in sums {
        fields.push(sum?.into_any());
    }
    PyTuple::new(py, fields)
}

/// What a click's record says of its link, sub id, country and device.
#[pyfunction]
fn click_origin<'py>(py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    let origin = Origin::of(record).map_err(|error| raise(py, &error))?;
    (origin.link, origin.sub1, origin.country, origin.device).into_pyobject(py)
}

/// The kind of device, by its user agent.
#[pyfunction]
fn device_of(agent: &str) -> &'static str {
    device(agent)
}

/// Adds the class and the functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyClickCells>()?;
    module.add_function(wrap_pyfunction!(click_origin, module)?)?;
    module.add_function(wrap_pyfunction!(device_of, module)?)
}
