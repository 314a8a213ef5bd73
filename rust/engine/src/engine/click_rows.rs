//! Rows of clicks among the outcomes of a batch: written by the engine, and read again where they
//! are counted and stored, one at a time.

use crate::error::Error;
use crate::msgpack::{Reader, Writer};

/// The name of the table, which comes first in the map of outcomes.
pub(super) const NAME: &str = "clicks";
const FIELDS: usize = 17;
// Entries of the map of outcomes: tables and counts.
const ENTRIES_MAX: usize = 64;

/// What is told of a new click, in the order of the ledger's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickRow<'a> {
    /// Its id.
    pub click_id: &'a [u8],
    /// The brand's number.
    pub brand: u64,
    /// The program's number.
    pub program: u64,
    /// The partner's number.
    pub partner: u64,
    /// The link's number.
    pub link: u64,
    /// When it was accepted, milliseconds.
    pub accept_ms: u64,
    /// When it happened, milliseconds.
    pub touch_ms: u64,
    /// The number of its trust.
    pub trust: u64,
    /// The number of what brought it.
    pub source: u64,
    /// Its flags.
    pub flags: u64,
    /// `accept`, `review`, `reject` or `filtered`.
    pub verdict: &'a str,
    /// `counted`, `duplicate`, `prefetch` or `test`.
    pub counted: &'a str,
    /// 1 for the first of its visitor, else 0.
    pub is_unique: u64,
    /// Its score.
    pub score: u64,
    /// What the score is made of, in parts per million.
    pub raw_ppm: u64,
    /// What scoring found.
    pub fraud: &'a [u8],
    /// The record.
    pub record: &'a [u8],
}

impl<'a> ClickRow<'a> {
    /// Writes all but the record.
    pub(super) fn write_fields(&self, row: &mut Writer) {
        row.array(FIELDS);
        row.bin(self.click_id);
        for number in [
            self.brand,
            self.program,
            self.partner,
            self.link,
            self.accept_ms,
            self.touch_ms,
            self.trust,
            self.source,
            self.flags,
        ] {
            row.uint(number);
        }
        row.str(self.verdict);
        row.str(self.counted);
        row.uint(self.is_unique);
        row.uint(self.score);
        row.uint(self.raw_ppm);
        row.bin(self.fraud);
    }

    fn read_from(row: &mut Reader<'a>) -> Result<Self, Error> {
        row.array_of(FIELDS)?;
        Ok(Self {
            click_id: row.bin()?,
            brand: row.uint()?,
            program: row.uint()?,
            partner: row.uint()?,
            link: row.uint()?,
            accept_ms: row.uint()?,
            touch_ms: row.uint()?,
            trust: row.uint()?,
            source: row.uint()?,
            flags: row.uint()?,
            verdict: row.str()?,
            counted: row.str()?,
            is_unique: row.uint()?,
            score: row.uint()?,
            raw_ppm: row.uint()?,
            fraud: row.bin()?,
            record: row.bin()?,
        })
    }

    /// The row that begins at a place in the outcomes.
    ///
    /// # Errors
    /// [`Error::Frame`] when there is none.
    pub fn read(outcomes: &'a [u8], start: usize) -> Result<Self, Error> {
        let row = outcomes.get(start..).ok_or(Error::Frame("truncated"))?;
        Self::read_from(&mut Reader::new(row))
    }
}

/// Encoded outcomes, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Where the rows of clicks begin.
    pub starts: Vec<usize>,
    /// The same map without them.
    pub rest: Vec<u8>,
}

/// Takes the rows of clicks out of encoded outcomes.
///
/// # Errors
/// [`Error::Frame`] when the bytes are something else.
pub fn split(outcomes: &[u8]) -> Result<Split, Error> {
    let mut reader = Reader::new(outcomes);
    let others = reader.map_max(ENTRIES_MAX)?.checked_sub(1);
    let others = others.ok_or(Error::Frame("wrong_type"))?;
    if reader.str()? != NAME {
        return Err(Error::Frame("wrong_type"));
    }
    let count = reader.array_max(outcomes.len())?;
    let mut starts = Vec::with_capacity(count);
    for _ in 0..count {
        starts.push(reader.at());
        ClickRow::read_from(&mut reader)?;
    }
    let tail = outcomes.get(reader.at()..).unwrap_or_default();
    let mut rest = Writer { bytes: Vec::with_capacity(tail.len() + 1) };
    rest.map(others);
    rest.raw(tail);
    Ok(Split { starts, rest: rest.bytes })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ROW: ClickRow<'_> = ClickRow {
        click_id: &[7; 16],
        brand: 1,
        program: 300,
        partner: 70_000,
        link: 5_000_000_000,
        accept_ms: 1_760_000_000_000,
        touch_ms: 1_760_000_000_001,
        trust: 2,
        source: 1,
        flags: 512,
        verdict: "accept",
        counted: "counted",
        is_unique: 1,
        score: 17,
        raw_ppm: 171_234,
        fraud: &[1, 2, 3],
        record: &[9; 300],
    };

    fn outcomes(rows: &[ClickRow<'_>]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.map(2);
        writer.str(NAME);
        writer.array(rows.len());
        for row in rows {
            row.write_fields(&mut writer);
            writer.bin(row.record);
        }
        writer.str("ticks");
        writer.uint(3);
        writer.bytes
    }

    #[test]
    fn rows_are_read_as_they_were_written_and_the_rest_stays() {
        let rows = [ROW, ClickRow { is_unique: 0, record: &[], ..ROW }, ROW];
        let bytes = outcomes(&rows);
        let Split { starts, rest } = split(&bytes).unwrap();
        let read: Vec<_> = starts.iter().map(|at| ClickRow::read(&bytes, *at).unwrap()).collect();
        assert_eq!(read, rows);
        let mut expected = Writer::new();
        expected.map(1);
        expected.str("ticks");
        expected.uint(3);
        assert_eq!(rest, expected.bytes);
    }

    #[test]
    fn whatever_is_cut_short_is_refused() {
        let bytes = outcomes(&[ROW, ROW]);
        let end = bytes.len() - "\u{3}ticks!".len();
        for length in 0..end {
            assert!(split(bytes.get(..length).unwrap()).is_err(), "{length}");
        }
        assert!(ClickRow::read(&bytes, bytes.len()).is_err());
        assert!(split(&[0x80]).is_err(), "an empty map");
    }
}
