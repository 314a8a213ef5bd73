//! The exceptions of the module, and how the engine's errors become them:
//!
//! ```text
//! CoreError(Exception)             .code
//! ├── FrameError(ValueError)       a frame or record that is not valid
//! ├── IdentifierError(ValueError)  an identifier's value that is not valid
//! ├── PositionError(ValueError)    an entry at or below the position
//! ├── UnknownVersionError          stop, and upgrade
//! ├── SnapshotError                a snapshot that cannot be used
//! └── EnginePoisonedError          .ms, .seq: the engine panicked; the process must exit
//! ```

use headwater_engine::Error;
use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

const MODULE: &str = "headwater._core";

struct Exceptions {
    core: Py<PyType>,
    frame: Py<PyType>,
    identifier: Py<PyType>,
    position: Py<PyType>,
    unknown_version: Py<PyType>,
    snapshot: Py<PyType>,
    poisoned: Py<PyType>,
}

static EXCEPTIONS: PyOnceLock<Exceptions> = PyOnceLock::new();

/// Makes an exception class; made by hand because a class of two bases has no macro.
fn class(
    py: Python<'_>,
    name: &str,
    bases: &[&Bound<'_, PyType>],
    doc: &str,
    defaults: &[(&str, Py<PyAny>)],
) -> PyResult<Py<PyType>> {
    let members = PyDict::new(py);
    members.set_item("__module__", MODULE)?;
    members.set_item("__doc__", doc)?;
    for (name, value) in defaults {
        members.set_item(*name, value)?;
    }
    let bases = PyTuple::new(py, bases)?;
    let made = py.get_type::<PyType>().call1((name, bases, members))?;
    Ok(made.cast_into::<PyType>()?.unbind())
}

fn make(py: Python<'_>) -> PyResult<Exceptions> {
    let exception = py.get_type::<PyException>();
    let value_error = py.get_type::<PyValueError>();
    let doc = "What the core refuses; `code` is a stable reason.";
    let core_type = class(py, "CoreError", &[&exception], doc, &[("code", text(py, ""))])?;
    let core = core_type.bind(py);
    let value = |name, doc| class(py, name, &[core, &value_error], doc, &[]);
    let plain = |name, doc| class(py, name, &[core], doc, &[]);
    let position = [("ms", number(py, 0)), ("seq", number(py, 0))];
    let doc = "The engine panicked at the entry `ms`, `seq`; the process must exit.";
    Ok(Exceptions {
        frame: value("FrameError", "Bytes that are not a valid frame or record.")?,
        identifier: value("IdentifierError", "A value that its identifier type cannot have.")?,
        position: value("PositionError", "An entry at or below the engine's position.")?,
        unknown_version: plain("UnknownVersionError", "A frame version this build cannot read.")?,
        snapshot: plain("SnapshotError", "A snapshot that is damaged or of another kind.")?,
        poisoned: class(py, "EnginePoisonedError", &[core], doc, &position)?,
        core: core_type.clone_ref(py),
    })
}

fn exceptions(py: Python<'_>) -> PyResult<&Exceptions> {
    EXCEPTIONS.get_or_try_init(py, || make(py))
}

/// Adds the exceptions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let all = exceptions(module.py())?;
    module.add("CoreError", &all.core)?;
    module.add("FrameError", &all.frame)?;
    module.add("IdentifierError", &all.identifier)?;
    module.add("PositionError", &all.position)?;
    module.add("UnknownVersionError", &all.unknown_version)?;
    module.add("SnapshotError", &all.snapshot)?;
    module.add("EnginePoisonedError", &all.poisoned)
}

fn instance(
    py: Python<'_>,
    class: &Py<PyType>,
    message: String,
    attributes: &[(&str, Py<PyAny>)],
) -> PyErr {
    let made = class.bind(py).call1((message,)).and_then(|made| {
        for (name, value) in attributes {
            made.setattr(*name, value)?;
        }
        Ok(made)
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

fn text(py: Python<'_>, value: &str) -> Py<PyAny> {
    pyo3::types::PyString::new(py, value).into_any().unbind()
}

fn number(py: Python<'_>, value: u64) -> Py<PyAny> {
    value.into_pyobject(py).map_or_else(|never| match never {}, |n| n.into_any().unbind())
}

/// The Python exception of an engine's error.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let all = match exceptions(py) {
        Ok(all) => all,
        Err(error) => return error,
    };
    let class = match error {
        Error::Frame(_) => &all.frame,
        Error::Identifier(_) => &all.identifier,
        Error::Position { .. } => &all.position,
        Error::UnknownVersion(_) => &all.unknown_version,
        Error::Snapshot(_) => &all.snapshot,
    };
    instance(py, class, error.to_string(), &[("code", text(py, error.code()))])
}

/// The exception of an engine that panicked at an entry.
pub(crate) fn raise_poisoned(py: Python<'_>, (ms, seq): (u64, u64)) -> PyErr {
    let all = match exceptions(py) {
        Ok(all) => all,
        Err(error) => return error,
    };
    let attributes =
        [("code", text(py, "engine_poisoned")), ("ms", number(py, ms)), ("seq", number(py, seq))];
    let message = format!("the engine panicked at {ms}-{seq}; the process must exit");
    instance(py, &all.poisoned, message, &attributes)
}

/// The exception of a lock whose holder panicked outside an entry.
pub(crate) fn raise_lock() -> PyErr {
    PyRuntimeError::new_err("the engine's lock was poisoned")
}
