//! The one error type of the crate. Every variant has a stable code.

use std::fmt;

/// What the engine refuses, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Bytes that are not a frame or a record of this format. The code names what is wrong.
    Frame(&'static str),
    /// A frame of a version this build does not know: stop, and upgrade. Nothing was applied.
    UnknownVersion(u8),
    /// An identifier's value that cannot be what its type says.
    Identifier(&'static str),
    /// A snapshot that is damaged, of another version, or of another partition.
    Snapshot(&'static str),
    /// An entry at or below the position already reached. Nothing was applied.
    Position {
        /// Stream id of the refused entry: milliseconds and sequence.
        entry: (u64, u64),
        /// The position reached.
        position: (u64, u64),
    },
}

impl Error {
    /// The stable code of this error, fit for a reason column or a problem's `code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Frame(code) | Self::Identifier(code) | Self::Snapshot(code) => code,
            Self::UnknownVersion(_) => "unknown_version",
            Self::Position { .. } => "position_not_increasing",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(code) => write!(out, "not a valid frame or record: {code}"),
            Self::UnknownVersion(version) => {
                write!(out, "frame version {version} is not known to this build")
            }
            Self::Identifier(code) => write!(out, "not a valid identifier: {code}"),
            Self::Snapshot(code) => write!(out, "not a usable snapshot: {code}"),
            Self::Position { entry, position } => write!(
                out,
                "entry {}-{} is not above the position {}-{}",
                entry.0, entry.1, position.0, position.1
            ),
        }
    }
}

impl std::error::Error for Error {}
