//! Ids: random bytes that were handed in, and the text of an id.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_CHARACTERS: usize = 26;

/// Random bytes, each used once.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    bytes: Vec<u8>,
    at: usize,
}

impl Pool {
    /// Replaces what is left by fresh bytes.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.at = 0;
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// `N` bytes that nobody had yet; `None` when there are too few.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let end = self.at + N;
        let taken = self.bytes.get_mut(self.at..end)?;
        let found = <[u8; N]>::try_from(&*taken).ok()?;
        taken.fill(0);
        self.at = end;
        Some(found)
    }

    /// An id of a moment: 48 bits of time in milliseconds, then 80 random bits.
    pub(crate) fn event_id(&mut self, now_ms: u64) -> Option<[u8; 16]> {
        let random: [u8; 10] = self.take()?;
        let [_, _, time @ ..] = now_ms.to_be_bytes();
        let mut bytes = time.into_iter().chain(random);
        Some(std::array::from_fn(|_| bytes.next().unwrap_or(0)))
    }
}

/// The bytes of an id's 26 characters; `None` for what is no id's text.
pub(crate) fn read(text: &str) -> Option<[u8; 16]> {
    if text.len() != TEXT_CHARACTERS {
        return None;
    }
    let mut number = 0_u128;
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|other| *other == byte)?;
        if number >> 123 != 0 {
            return None;
        }
        number = number << 5 | value as u128;
    }
    Some(number.to_be_bytes())
}

/// Appends the 26 characters of an id: Crockford's base32 in lower case.
pub(crate) fn write(id: [u8; 16], text: &mut String) {
    let mut left = u128::from_be_bytes(id);
    let mut characters = [b'0'; TEXT_CHARACTERS];
    for character in characters.iter_mut().rev() {
        let [.., lowest] = left.to_be_bytes();
        if let Some(found) = ALPHABET.get(usize::from(lowest & 31)) {
            *character = *found;
        }
        left >>= 5;
    }
    text.extend(characters.map(char::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_everywhere() {
        let mut text = String::new();
        write([0xff; 16], &mut text);
        assert_eq!(text, "7zzzzzzzzzzzzzzzzzzzzzzzzz");
        text.clear();
        write(1_u128.to_be_bytes(), &mut text);
        assert_eq!(text, "00000000000000000000000001");
    }

    #[test]
    fn the_text_of_an_id_is_read_and_no_other() {
        for id in [[0; 16], [0xff; 16], 0x0102_0304_0506_u128.to_be_bytes()] {
            let mut text = String::new();
            write(id, &mut text);
            assert_eq!(read(&text), Some(id), "{text}");
            for other in ["8", "i", "Z", "-"] {
                assert_eq!(read(&format!("{other}{}", &text[1..])), None);
            }
            assert_eq!(read(&text[1..]), None);
            assert_eq!(read(&format!("0{text}")), None);
        }
    }

    #[test]
    fn no_byte_is_given_twice() {
        let mut pool = Pool::default();
        pool.fill(&[1, 2, 3, 4, 5]);
        assert_eq!(pool.take::<2>(), Some([1, 2]));
        assert_eq!(pool.take::<4>(), None);
        assert_eq!(pool.take::<3>(), Some([3, 4, 5]));
        assert_eq!((pool.take::<1>(), pool.left()), (None, 0));
    }
}
