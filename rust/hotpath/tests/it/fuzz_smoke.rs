//! The fuzz target with random bytes, for a machine that cannot fuzz; see `rust/fuzz`.

use proptest::prelude::*;

use crate::fuzz_bodies;

/// Heads of requests in the pieces of `fuzz_bodies`, most of them plain, then anything.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        prop::collection::vec(prop_oneof![b'0'..=b'9', b'a'..=b'z', 20..23_u8], 0..5),
        Just(b"5.00".to_vec()),
    ];
    let names = prop::sample::subsequence((9..20_u8).collect::<Vec<_>>(), 0..6);
    let query = (names, prop::collection::vec(value, 6)).prop_map(|(names, values)| {
        names.into_iter().zip(values).flat_map(|(name, value)| [vec![name], value].concat())
    });
    let headers: Vec<&[u8]> =
        vec![&[23], &[24, 25, b'\r', b'\n'], &[26], &[27], &[28, b'a', b'\r', b'\n'], &[29], &[30]];
    let headers = prop::sample::subsequence(headers, 0..7).prop_map(|headers| headers.concat());
    let request = (1..5_u8, query, 6..8_u8, headers).prop_map(|(first, query, host, headers)| {
        [vec![first], query.collect(), vec![5, host], headers, vec![8]].concat()
    });
    let loose = prop::collection::vec(prop_oneof![0..32_u8, any::<u8>()], 0..4);
    (prop::collection::vec(request, 0..4), loose)
        .prop_map(|(requests, loose)| [vec![1], requests.concat(), loose].concat())
}

#[test]
fn requests_of_every_kind_are_among_those_that_are_taken() {
    let report = "GET /px.gif?program=check&event=lead";
    for targets in [
        ["GET /c/a?color=%41", "GET /own", "GET /c/tokens?sub1=%C3%A9"],
        [&*format!("{report}&customer_id=c"), &format!("{report}&promo_code=c"), "GET /c/a"],
        [report, &format!("{report}&amount=1"), "GET /c/a"],
    ] {
        let heads =
            targets.map(|target| format!("{target} HTTP/1.1\r\nHost: go.shop.example\r\n\r\n"));
        let bytes = [&[0], heads.concat().as_bytes()].concat();
        // Of each of two peers.
        assert_eq!(fuzz_bodies::hotpath_bytes(&bytes), 2 * targets.len(), "{targets:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_are_taken_by_the_letter_or_not_at_all(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        fuzz_bodies::hotpath_bytes(&bytes);
    }

    #[test]
    fn requests_are_taken_alike_whatever_is_around_them(bytes in requests()) {
        fuzz_bodies::hotpath_bytes(&bytes);
    }
}
