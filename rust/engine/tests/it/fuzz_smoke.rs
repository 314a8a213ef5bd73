//! The fuzz targets with random bytes, for a machine that cannot fuzz; see `rust/fuzz`.

use proptest::prelude::*;

use crate::fuzz_bodies;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..2000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_entries_never_panic(bytes in bytes()) {
        fuzz_bodies::engine_bytes(&bytes);
    }

    #[test]
    fn arbitrary_records_never_panic_and_survive_a_snapshot(bytes in bytes()) {
        fuzz_bodies::engine_records(&bytes);
    }

    #[test]
    fn arbitrary_bytes_are_no_snapshot(bytes in bytes()) {
        fuzz_bodies::snapshot_bytes(&bytes);
    }

    #[test]
    fn a_changed_snapshot_is_refused_or_restored_as_it_is(
        bytes in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        fuzz_bodies::snapshot_changed(&bytes);
    }
}

#[test]
fn a_snapshot_changed_in_one_byte_is_refused_or_restored_as_it_is() {
    fuzz_bodies::snapshot_changed_once(0, 3);
}
