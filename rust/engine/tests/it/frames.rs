//! Frames and records: what is read back, and that damage is always refused, never a panic.

use crate::common::*;
use headwater_engine::limits::*;
use headwater_engine::record::frame::{frame_header, HEADER_BYTES};
use headwater_engine::record::{decode_frame, encode_frame, Record};
use headwater_engine::Error;
use proptest::prelude::*;

fn every_kind() -> Vec<Vec<u8>> {
    let page = array([1.into(), "https://a.example/".into(), 0.into(), identifiers(&[]), nils(5)]);
    let decision = array(["approve".into(), bin(id(5)), Value::Map(vec![])]);
    let erasure = array(["person".into(), true.into(), false.into(), identifiers(&[(1, 2)])]);
    let list = Value::Array(vec![Value::from(true), Value::from(-70_000), Value::Nil]);
    vec![
        head(1, T0).click(3, &[(VISITOR, 4)]),
        head(2, T0).browser().record(2, page),
        head(3, T0).claim(T0 - 1).identify(&[(VISITOR, 4), (CUSTOMER, 5)]),
        head(4, T0).sale(&Sale { item: Some("sku"), promo: Some("CODE"), ..sale(1).click(1) }),
        head(5, T0).control("program", 1, 2, &[("status", "active".into()), ("list", list)]),
        head(6, T0).record(6, decision),
        head(7, T0).record(7, erasure),
        head(8, T0).tick(),
    ]
}

fn nils(count: usize) -> Value {
    Value::Array(vec![Value::Nil; count])
}

#[test]
fn every_kind_is_read_and_written_back_to_the_same_bytes() {
    for (at, bytes) in every_kind().iter().enumerate() {
        let record = Record::decode(bytes).unwrap();
        assert_eq!(record.kind() as usize, at + 1);
        assert_eq!(record.encode(), *bytes);
    }
    let frame = frame(9, 40, &every_kind());
    let header = frame_header(&frame).unwrap();
    assert_eq!((header.producer, header.first_sequence, header.count), (9, 40, 8));
    let decoded = decode_frame(&frame).unwrap();
    let wire: Vec<&[u8]> = decoded.records.iter().map(|(_, bytes)| *bytes).collect();
    assert_eq!(wire, every_kind());
}

#[test]
fn a_frame_cut_short_anywhere_is_refused() {
    let frame = frame(9, 1, &every_kind());
    for length in 0..frame.len() {
        assert!(decode_frame(&frame[..length]).is_err(), "{length}");
    }
    let longer = [frame.as_slice(), &[0]].concat();
    assert!(decode_frame(&longer).is_err());
}

#[test]
fn a_frame_with_any_one_bit_flipped_is_refused() {
    let frame = frame(9, 1, &[head(1, T0).click(3, &[(VISITOR, 4)])]);
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_frame(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn another_version_is_told_from_damage() {
    let mut frame = frame(9, 1, &[head(1, T0).tick()]);
    frame[3] = 2;
    assert_eq!(decode_frame(&frame), Err(Error::UnknownVersion(2)));
    assert_eq!(frame_header(b"HWX\x01"), Err(Error::Frame("malformed")));
}

#[test]
fn a_frame_holds_at_most_its_count_of_records() {
    let tick = head(1, T0).tick();
    let ticks = |count| vec![tick.as_slice(); count];
    assert_eq!(encode_frame(0, 1, 1, &ticks(0)), Err(Error::Frame("wrong_count")));
    assert!(encode_frame(0, 1, 1, &ticks(FRAME_RECORDS_MAX)).is_ok());
    let above = encode_frame(0, 1, 1, &ticks(FRAME_RECORDS_MAX + 1));
    assert_eq!(above, Err(Error::Frame("wrong_count")));
    assert_eq!(encode_frame(0, 1, 0, &ticks(1)), Err(Error::Frame("wrong_sequence")));
    assert_eq!(encode_frame(0, 1, u64::MAX, &ticks(1)), Err(Error::Frame("wrong_sequence")));
}

/// A page view of exactly `bytes` bytes.
fn page_of(bytes: usize) -> Vec<u8> {
    let make = |length: usize| {
        let url = "u".repeat(length);
        let body = [1.into(), url.into(), 0.into(), identifiers(&[]), nils(5)];
        head(1, T0).record(2, array(body))
    };
    let overhead = make(1000).len() - 1000;
    let record = make(bytes - overhead);
    assert_eq!(record.len(), bytes);
    record
}

#[test]
fn a_record_holds_at_most_its_bytes() {
    assert!(Record::decode(&page_of(RECORD_BYTES_MAX)).is_ok());
    let above = page_of(RECORD_BYTES_MAX + 1);
    assert_eq!(Record::decode(&above), Err(Error::Frame("record_too_large")));
    assert_eq!(encode_frame(0, 1, 1, &[&above]), Err(Error::Frame("record_too_large")));
}

#[test]
fn a_frame_holds_at_most_its_bytes() {
    let full = page_of(RECORD_BYTES_MAX);
    let last = page_of(RECORD_BYTES_MAX - HEADER_BYTES);
    let mut records = vec![full.as_slice(); FRAME_BYTES_MAX / RECORD_BYTES_MAX - 1];
    records.push(&last);
    let frame = encode_frame(0, 1, 1, &records).unwrap();
    assert_eq!(frame.len(), FRAME_BYTES_MAX);
    assert!(decode_frame(&frame).is_ok());
    *records.last_mut().unwrap() = &full;
    assert_eq!(encode_frame(0, 1, 1, &records), Err(Error::Frame("frame_too_large")));
}

#[test]
fn lists_hold_at_most_their_entries() {
    let many: Vec<(u64, u64)> = (0..=RECORD_IDENTIFIERS_MAX as u64).map(|n| (VISITOR, n)).collect();
    let at = |count: usize| head(1, T0).identify(&many[..count]);
    assert!(Record::decode(&at(RECORD_IDENTIFIERS_MAX)).is_ok());
    let above = Record::decode(&at(RECORD_IDENTIFIERS_MAX + 1)).map(|_| ());
    assert_eq!(above, Err(Error::Frame("too_many_entries")));
    let params = |count: usize| {
        let entry = |n: usize| (Value::from(format!("k{n}")), Value::from("v"));
        let map = Value::Map((0..count).map(entry).collect());
        head(1, T0).record(6, array(["a".into(), bin(id(1)), map]))
    };
    assert!(Record::decode(&params(RECORD_PARAMS_MAX)).is_ok());
    assert!(Record::decode(&params(RECORD_PARAMS_MAX + 1)).is_err());
}

#[test]
fn control_values_nest_and_spread_within_their_bounds() {
    let nested = |levels: usize| {
        let value = (1..levels).fold(Value::from(1), |value, _| Value::Array(vec![value]));
        Record::decode(&head(1, T0).control("x", 1, 1, &[("k", value)])).map(|_| ())
    };
    assert_eq!(nested(VALUE_DEPTH_MAX), Ok(()));
    assert_eq!(nested(VALUE_DEPTH_MAX + 1), Err(Error::Frame("too_deep")));
    let wide = |entries: usize| {
        let value = Value::Array(vec![Value::Nil; entries - 2]);
        Record::decode(&head(1, T0).control("x", 1, 1, &[("k", value)])).map(|_| ())
    };
    assert_eq!(wide(VALUE_ENTRIES_MAX), Ok(()));
    assert_eq!(wide(VALUE_ENTRIES_MAX + 1), Err(Error::Frame("too_many_entries")));
    let float = head(1, T0).control("x", 1, 1, &[("k", Value::F64(0.5))]);
    assert_eq!(Record::decode(&float).map(|_| ()), Err(Error::Frame("wrong_type")));
}

#[test]
fn numbers_and_times_stay_within_what_the_ledger_and_a_click_id_hold() {
    let time = |ms| Record::decode(&head(1, ms).tick()).map(|_| ());
    assert_eq!(time(TIME_MS_MAX), Ok(()));
    assert_eq!(time(TIME_MS_MAX + 1), Err(Error::Frame("number_too_large")));
    let brand = |number| Record::decode(&head(1, T0).brand(number).tick()).map(|_| ());
    assert_eq!(brand(NUMBER_MAX), Ok(()));
    assert_eq!(brand(NUMBER_MAX + 1), Err(Error::Frame("number_too_large")));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_frame(&bytes);
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn a_record_changed_anywhere_never_panics(
        which in 0_usize..8,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = every_kind().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(record) = Record::decode(&bytes) {
            let again = record.encode();
            prop_assert_eq!(Record::decode(&again).unwrap().encode(), again);
        }
    }
}
