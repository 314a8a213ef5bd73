//! As much of an answer as the measurement needs: where it ends, its status, its click id.

use memchr::memmem;

const MARK: &[u8] = b"click_id=";
/// `clk_` and 26 characters.
pub(crate) const ID_BYTES: usize = 30;

/// A whole answer at the beginning of what was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'bytes> {
    pub(crate) length: usize,
    pub(crate) status: u16,
    pub(crate) click_id: Option<&'bytes [u8]>,
}

/// None while it is not whole; an error when it is no answer this program understands.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Answer<'_>>, &'static str> {
    let Some(head_end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = bytes.get(..head_end).unwrap_or_default();
    let status = status(head).ok_or("no status line")?;
    let (mut body, mut click_id, mut is_sized) = (0, None, false);
    let mut lines = head;
    while let Some(at) = memchr::memchr(b'\n', lines) {
        lines = lines.get(at + 1..).unwrap_or_default();
        if let Some(value) = after(lines, b"content-length:") {
            body = number(value).ok_or("no length")?;
            is_sized = true;
        } else if let Some(value) = after(lines, b"location:") {
            let value = value.split(|byte| *byte == b'\r').next().unwrap_or_default();
            click_id = memmem::find(value, MARK)
                .and_then(|at| value.get(at + MARK.len()..at + MARK.len() + ID_BYTES));
        }
    }
    if !is_sized {
        return Err("an answer without Content-Length");
    }
    let length = head_end + 4 + body;
    Ok((bytes.len() >= length).then_some(Answer { length, status, click_id }))
}

fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn after<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(rest)
}

fn number(text: &[u8]) -> Option<usize> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "clk_0123456789abcdefghijklmnop";

    #[test]
    fn a_redirect_tells_its_click() {
        let text = format!(
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\
             Location: https://s.example/?a=1&click_id={ID}\r\n\
             Set-Cookie: click_id=no\r\n\r\n"
        );
        let answer = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(answer.length, text.len());
        assert_eq!(answer.status, 302);
        assert_eq!(answer.click_id, Some(ID.as_bytes()));
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut]), Ok(None));
        }
    }

    #[test]
    fn a_body_belongs_to_its_answer() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  3\r\n\r\nGIFHTTP/1.1 200";
        let answer = parse(text).unwrap().unwrap();
        assert_eq!((answer.length, answer.status, answer.click_id), (text.len() - 12, 200, None));
        assert_eq!(parse(&text[..text.len() - 13]), Ok(None));
    }

    #[test]
    fn what_cannot_be_told_apart_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").is_err());
    }

    #[test]
    fn an_id_that_is_cut_off_is_none() {
        let text = b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: /?click_id=clk_12\r\n\
                     X: 0123456789012345678901234567890\r\n\r\n";
        assert_eq!(parse(text).unwrap().unwrap().click_id, None);
    }
}
