//! The connections of the hot lane as a Python object.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use headwater_hotpath::Ranges;
use headwater_listener::{Batch, Bounds, Handed, Listener, Records};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hot::PyHotLane;

/// Number, partition, records, what each of the requests came to and why it is refused.
type BatchOut = (u64, u16, PyHotRecords, &'static str, Option<&'static str>);
/// Descriptor, peer, what is unsent, whether it ends then, what is unread.
type HandedOut<'py> = (RawFd, String, Bound<'py, PyBytes>, bool, Bound<'py, PyBytes>);
/// Batches, connections handed over, how many were refused, errors of the lane, whether another
/// turn is wanted.
type TurnOut<'py> = (Vec<BatchOut>, Vec<HandedOut<'py>>, usize, Vec<PyErr>, bool);

/// Records of one batch. None but the lane's are ever in one, and those are checked.
#[pyclass(frozen, name = "HotRecords", module = "headwater._core")]
pub(crate) struct PyHotRecords(pub(crate) Records);

#[pymethods]
impl PyHotRecords {
    #[getter]
    fn size_bytes(&self) -> usize {
        self.0.bytes().len()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Bound<'py, PyBytes>> {
        let record = self.0.get(at).ok_or_else(|| PyIndexError::new_err("no such record"))?;
        Ok(PyBytes::new(py, record))
    }
}

/// The sockets of one edge process.
#[pyclass(name = "HotListener", module = "headwater._core")]
pub(crate) struct PyHotListener {
    listener: Listener,
}

#[pymethods]
impl PyHotListener {
    #[new]
    fn new(
        proxies: (Vec<u8>, Vec<u8>),
        connections_max: usize,
        per_address_max: usize,
        head_ms: u64,
        keep_alive_ms: u64,
    ) -> PyResult<Self> {
        let proxies = Ranges::new(&proxies.0, &proxies.1);
        let bounds = Bounds { connections_max, per_address_max, head_ms, keep_alive_ms };
        Ok(Self { listener: Listener::new(proxies, bounds)? })
    }

    fn listen(&mut self, address: IpAddr, port: u16, backlog: i32) -> PyResult<u16> {
        Ok(self.listener.listen(SocketAddr::new(address, port), backlog)?)
    }

    fn fileno(&self) -> RawFd {
        self.listener.as_raw_fd()
    }

    /// The lock is kept: a turn is the work of some microseconds for each request.
    fn turn<'py>(
        &mut self,
        py: Python<'py>,
        lane: &mut PyHotLane,
        now_ms: u64,
        date: &str,
        monotonic_ms: u64,
    ) -> PyResult<TurnOut<'py>> {
        let mut errors = Vec::new();
        let mut offer = |data: &[u8], peer: IpAddr| {
            let taken = lane.offer(py, data, peer, now_ms, date);
            taken.unwrap_or_else(|error| {
                errors.push(error);
                None
            })
        };
        let turn = self.listener.turn(monotonic_ms, &mut offer)?;
        let batches = turn.batches.into_iter().map(batch_out).collect();
        let handed = turn.handed.into_iter().map(|handed| handed_out(py, handed)).collect();
        Ok((batches, handed, turn.refused, errors, turn.is_unfinished))
    }

    fn answer(&mut self, number: u64, monotonic_ms: u64) -> bool {
        self.listener.answer(number, monotonic_ms)
    }

    fn expire(&mut self, monotonic_ms: u64) {
        self.listener.expire(monotonic_ms);
    }

    fn release(&mut self, peer: IpAddr) {
        self.listener.release(peer);
    }

    fn drain(&mut self) {
        self.listener.drain();
    }

    #[getter]
    fn pending(&self) -> usize {
        self.listener.pending()
    }

    fn close(&mut self) {
        self.listener.close_all();
    }
}

fn batch_out(batch: Batch) -> BatchOut {
    let kind = batch.kind;
    (batch.number, batch.partition, PyHotRecords(batch.records), kind.name(), kind.reason())
}

fn handed_out(py: Python<'_>, handed: Handed) -> HandedOut<'_> {
    (
        handed.socket.into_raw_fd(),
        handed.peer,
        PyBytes::new(py, &handed.unsent),
        handed.is_last,
        PyBytes::new(py, &handed.unread),
    )
}
