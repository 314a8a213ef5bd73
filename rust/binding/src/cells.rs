//! Rollup cells of clicks as a Python object.

use std::collections::{BTreeMap, BTreeSet};

use headwater_engine::cells::{
    device, is_click, Cell, ClickCells, Origin, PartnerDay, Standing, Sums, QUARTER_MS,
};
use headwater_engine::sub_ids::SubIds;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PySet, PyTuple};

use crate::clicks::PyClickRows;
use crate::error::raise;

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

    /// Add rows of clicks, each one, but those in `known`; those in `apart` and touches that are no
    /// clicks only name their cells.
    fn count(
        &mut self,
        py: Python<'_>,
        rows: &PyClickRows,
        known: &Bound<'_, PySet>,
        apart: &Bound<'_, PySet>,
    ) -> PyResult<()> {
        let (has_known, has_apart) = (!known.is_empty(), !apart.is_empty());
        for row in rows.each(py) {
            let row = row?;
            let is_in = |ids: &Bound<'_, PySet>| ids.contains(PyBytes::new(py, row.click_id));
            if has_known && is_in(known)? {
                continue;
            }
            let origin = Origin::of(row.record).map_err(|error| raise(py, &error))?;
            let cell = Cell {
                program: row.program,
                bucket: row.accept_ms / QUARTER_MS,
                partner: row.partner,
                link: row.link,
                sub1: origin.sub1,
                country: origin.country,
                device: origin.device,
            };
            let is_unique = row.is_unique != 0;
            let standing = Standing { verdict: row.verdict, counted: row.counted, is_unique };
            let is_counted = is_click(row.flags) && !(has_apart && is_in(apart)?);
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

    /// Add the cells of others.
    fn add_all(&mut self, others: &Self) {
        self.cells.add_all(&others.cells);
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

/// Which sub ids have cells of their own.
#[pyclass(name = "SubIds", module = "headwater._core")]
#[derive(Default)]
pub(crate) struct PySubIds {
    sub_ids: SubIds,
}

#[pymethods]
impl PySubIds {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// The days of cells that are not loaded.
    fn missing(&self, cells: &PyClickCells) -> BTreeSet<PartnerDay> {
        self.sub_ids.missing(&cells.cells)
    }

    /// Take in the sub ids of a day.
    fn load(&mut self, day: PartnerDay, sub_ids: Vec<String>) {
        self.sub_ids.load(day, sub_ids.into_iter().map(String::into_boxed_str));
    }

    /// Whether a sub id has cells of its own; None when its day is not loaded.
    fn has(&self, day: PartnerDay, sub1: &str) -> Option<bool> {
        self.sub_ids.has(&day, sub1)
    }

    /// Name the sub ids of cells; those that are new.
    fn name(
        &mut self,
        cells: &mut PyClickCells,
        count_max: usize,
        rest: &str,
    ) -> Vec<(u64, u64, u64, String)> {
        let new = self.sub_ids.name(&mut cells.cells, count_max, rest).into_iter();
        new.map(|((program, partner, day), sub1)| (program, partner, day, sub1)).collect()
    }

    /// Give up the days before one.
    fn forget_before(&mut self, day: u64) {
        self.sub_ids.forget_before(day);
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
    module.add_class::<PySubIds>()?;
    module.add_function(wrap_pyfunction!(click_origin, module)?)?;
    module.add_function(wrap_pyfunction!(device_of, module)?)
}
