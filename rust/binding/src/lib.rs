//! The extension module `headwater._core`: bytes in, bytes out, one call a batch, the
//! interpreter lock released while the engine works. No rule of the product lives here.

mod cells;
mod clicks;
mod engine;
mod error;
mod functions;
mod hot;
mod listener;

use pyo3::prelude::*;

/// The deterministic core of Headwater.
#[pymodule(name = "_core")]
fn core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    error::register(module)?;
    functions::register(module)?;
    cells::register(module)?;
    clicks::register(module)?;
    module.add_class::<engine::PyEngine>()?;
    module.add_class::<hot::PyHotLane>()?;
    module.add_class::<listener::PyHotListener>()?;
    module.add_class::<listener::PyHotRecords>()?;
    module.add_class::<engine::PySnapshotView>()?;
    Ok(())
}
