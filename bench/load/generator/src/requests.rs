//! The requests that are sent: a file of whole heads, made beforehand.
//!
//! Each is three little-endian 16-bit numbers and the bytes: their length, where in them an address
//! `10.000.000.000` stands whose last three numbers are drawn anew each time, and where the id of a
//! visitor stands whose characters behind the first are (0: nowhere). Visitors who came again every
//! second would be told apart from people, and the server would be busy with that.

use std::path::Path;

use crate::arguments::Fault;
use crate::schedule::Random;

const FIXED_BYTES: usize = 3;
const LOWEST_PART: usize = 100;
const PARTS: usize = 155;
const ID_BYTES: usize = 26;
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
    address_at: usize,
    visitor_at: usize,
}

/// All of them; one is drawn at a time.
#[derive(Debug)]
pub(crate) struct Requests {
    all: Vec<Request>,
    random: Random,
}

impl Requests {
    pub(crate) fn read(path: &Path, seed: u64) -> Result<Self, Fault> {
        let file = std::fs::read(path)?;
        let mut rest = file.as_slice();
        let mut all = Vec::new();
        while let [a, b, c, d, e, f, tail @ ..] = rest {
            let length = usize::from(u16::from_le_bytes([*a, *b]));
            let address_at = usize::from(u16::from_le_bytes([*c, *d]));
            let visitor_at = usize::from(u16::from_le_bytes([*e, *f]));
            let (bytes, after) = tail
                .split_at_checked(length)
                .ok_or_else(|| Fault("the file of requests is cut off".to_owned()))?;
            all.push(Request { bytes: bytes.to_vec(), address_at, visitor_at });
            rest = after;
        }
        if all.is_empty() || !rest.is_empty() {
            return Err(Fault("the file of requests holds none, or is cut off".to_owned()));
        }
        Ok(Self { all, random: Random::new(seed) })
    }

    /// The next request's bytes.
    pub(crate) fn draw(&mut self) -> &[u8] {
        let chosen = self.random.below(self.all.len());
        let Some(request) = self.all.get_mut(chosen) else { return &[] };
        if request.address_at > 0 {
            let first = request.address_at + FIXED_BYTES;
            let parts = request.bytes.get_mut(first..).unwrap_or_default();
            for part in parts.chunks_mut(4).take(3) {
                let number = LOWEST_PART + self.random.below(PARTS);
                for (place, digit) in
                    part.iter_mut().zip([number / 100, number / 10 % 10, number % 10])
                {
                    *place = b'0' + digit as u8;
                }
            }
        }
        if request.visitor_at > 0 {
            // The first has but three bits, and stays.
            let id = request.visitor_at + 1..request.visitor_at + ID_BYTES;
            for place in request.bytes.get_mut(id).unwrap_or_default() {
                let drawn = self.random.below(ID_ALPHABET.len());
                *place = ID_ALPHABET.get(drawn).copied().unwrap_or(b'0');
            }
        }
        &request.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("generator-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn the_address_is_drawn_anew_and_nothing_else_changes() {
        let text = b"GET /\r\nX: 10.100.100.100\r\n\r\n";
        let mut bytes = vec![text.len() as u8, 0, 10, 0, 0, 0];
        bytes.extend_from_slice(text);
        let path = file("address", &bytes);
        let mut requests = Requests::read(&path, 3).unwrap();
        let drawn: Vec<String> =
            (0..50).map(|_| String::from_utf8(requests.draw().to_vec()).unwrap()).collect();
        for request in &drawn {
            let address = request.strip_prefix("GET /\r\nX: 10.").unwrap();
            let address = address.strip_suffix("\r\n\r\n").unwrap();
            let parts: Vec<u8> = address.split('.').map(|part| part.parse().unwrap()).collect();
            assert_eq!(parts.len(), 3);
            assert!(parts.iter().all(|part| (100..=254).contains(part)));
        }
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_visitor_is_drawn_anew_and_stays_an_id() {
        let text = b"Cookie: v=4cxhb5jty243t3861wt9z4ncby.20400\r\n\r\n";
        let mut bytes = vec![text.len() as u8, 0, 0, 0, 10, 0];
        bytes.extend_from_slice(text);
        let path = file("visitor", &bytes);
        let mut requests = Requests::read(&path, 3).unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            let request = String::from_utf8(requests.draw().to_vec()).unwrap();
            let id = request.strip_prefix("Cookie: v=4").unwrap();
            let id = id.strip_suffix(".20400\r\n\r\n").unwrap();
            assert_eq!(id.len(), 25);
            assert!(id.bytes().all(|byte| ID_ALPHABET.contains(&byte)));
            seen.insert(id.to_owned());
        }
        assert_eq!(seen.len(), 50);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_is_cut_off_or_empty_is_refused() {
        for (name, bytes) in [("none", &[][..]), ("half", &[5, 0, 0, 0, 0, 0, b'G']), ("bit", &[5])]
        {
            let path = file(name, bytes);
            assert!(Requests::read(&path, 1).is_err());
            std::fs::remove_file(path).unwrap();
        }
    }
}
