//! Records one behind the other, as a frame has them.

/// Records that the lane has made and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Records {
    pub(crate) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One of them.
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(at)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_where_it_stands() {
        let mut records = Records::default();
        assert!(records.is_empty());
        for record in ["ab", "", "cde"] {
            records.push(record.as_bytes());
        }
        assert_eq!((records.len(), records.bytes()), (3, b"abcde".as_slice()));
        let found: Vec<_> = (0..4).map(|at| records.get(at)).collect();
        assert_eq!(found, [Some(b"ab".as_slice()), Some(b""), Some(b"cde"), None]);
    }
}
