//! Clicks summed up: sums, order, bytes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use headwater_engine::cells::{device, Cell, ClickCells, Standing};
use headwater_engine::sub_ids::SubIds;

const COUNTED: Standing<'static> =
    Standing { verdict: "accept", counted: "counted", is_unique: true };

fn cell(partner: u64, sub1: &str) -> Cell<'_> {
    Cell { program: 1, bucket: 96 * 7, partner, link: 3, sub1, country: "DE", device: "ios" }
}

fn sums(cells: &ClickCells) -> Vec<(u64, String, [i64; 8])> {
    let rows = cells.sorted().into_iter();
    rows.map(|(cell, sums)| (cell.partner, cell.sub1.to_owned(), *sums)).collect()
}

#[test]
fn a_click_is_counted_by_how_it_stands() {
    let standing = |verdict, counted, is_unique| Standing { verdict, counted, is_unique };
    for (stands, expected) in [
        (standing("accept", "counted", true), [1, 0, 0, 0, 1, 0, 0, 0]),
        (standing("review", "counted", false), [1, 0, 0, 0, 0, 1, 0, 0]),
        (standing("review", "duplicate", true), [1, 0, 0, 1, 0, 0, 0, 0]),
        (standing("reject", "duplicate", true), [1, 0, 1, 0, 0, 0, 0, 0]),
        (standing("filtered", "counted", true), [1, 1, 0, 0, 0, 0, 0, 0]),
        (standing("filtered", "prefetch", true), [0, 0, 0, 0, 0, 0, 1, 0]),
        (standing("reject", "test", true), [0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        let mut cells = ClickCells::default();
        cells.add(&cell(1, ""), stands, 1);
        assert_eq!(sums(&cells), [(1, String::new(), expected)]);
        cells.add(&cell(1, ""), stands, -1);
        assert!(sums(&cells).is_empty());
        assert!(cells.programs().is_empty());
    }
}

#[test]
fn what_was_encoded_is_added_and_zeros_are_left_out() {
    let mut cells = ClickCells::default();
    cells.add(&cell(2, "b"), COUNTED, 2);
    cells.add(&cell(1, "a"), COUNTED, 0);
    cells.add(&cell(1, ""), COUNTED, -1);
    let encoded = cells.encode();
    let mut again = ClickCells::default();
    again.merge(&encoded).unwrap();
    again.merge(&encoded).unwrap();
    assert_eq!(
        sums(&again),
        [
            (1, String::new(), [-2, 0, 0, 0, -2, 0, 0, 0]),
            (2, "b".to_owned(), [4, 0, 0, 0, 4, 0, 0, 0]),
        ]
    );
    assert_eq!((cells.len(), again.len()), (3, 2));
    assert_eq!(cells.programs(), BTreeMap::from([(1, 96 * 7)]));
}

#[test]
fn other_bytes_are_refused() {
    let mut cells = ClickCells::default();
    cells.add(&cell(1, "a"), COUNTED, 1);
    let encoded = cells.encode();
    for end in 0..encoded.len() {
        assert!(ClickCells::default().merge(encoded.get(..end).unwrap()).is_err());
    }
    let longer: Vec<u8> = encoded.iter().chain(&[0xc0]).copied().collect();
    assert!(ClickCells::default().merge(&longer).is_err());
}

#[test]
fn sub_ids_come_in_their_order_and_some_are_summed_up() {
    let mut cells = ClickCells::default();
    for sub1 in ["z", "a", "", "z", "m"] {
        cells.add(&cell(1, sub1), COUNTED, i64::from(sub1 != "a"));
    }
    let day = (1, 1, 7);
    assert_eq!(cells.sub_ids().collect::<Vec<_>>(), [(day, "z"), (day, "a"), (day, "m")]);
    let over = HashSet::from([(day, "m".to_owned()), (day, "z".to_owned())]);
    cells.sum_up(&over, "\0");
    let found: Vec<_> = sums(&cells).into_iter().map(|(_, sub1, sums)| (sub1, sums[0])).collect();
    assert_eq!(found, [(String::new(), 1), ("\0".to_owned(), 3)]);
}

#[test]
fn so_many_sub_ids_of_a_day_have_cells_of_their_own_and_the_others_share_one() {
    let mut cells = ClickCells::default();
    for (partner, sub1) in [(1, "a"), (1, "b"), (2, "b"), (1, "c"), (1, ""), (1, "a"), (1, "d")] {
        cells.add(&cell(partner, sub1), COUNTED, 1);
    }
    let (one, other) = ((1, 1, 7), (1, 2, 7));
    let mut named = SubIds::default();
    assert_eq!(named.missing(&cells), BTreeSet::from([one, other]));
    named.load(one, ["c".into()]);
    assert_eq!(named.missing(&cells), BTreeSet::from([other]));
    named.load(other, []);
    let new = named.name(&mut cells, 2, "\0");
    assert_eq!(new, [(one, "a".to_owned()), (other, "b".to_owned())]);
    let found: Vec<_> =
        sums(&cells).into_iter().map(|(partner, sub1, sums)| (partner, sub1, sums[0])).collect();
    let rest = (1, "\0".to_owned(), 2);
    let own = |partner, sub1: &str, count| (partner, sub1.to_owned(), count);
    assert_eq!(found, [own(1, "", 1), rest, own(1, "a", 2), own(1, "c", 1), own(2, "b", 1)]);
    let has = |day, sub1| named.has(&day, sub1);
    assert_eq!(
        [has(one, "c"), has(one, "d"), has((1, 1, 8), "c")],
        [Some(true), Some(false), None]
    );
    named.forget_before(8);
    assert_eq!(named.has(&one, "c"), None);
}

#[test]
fn cells_are_added_to_others_as_if_they_had_been_encoded() {
    let mut cells = ClickCells::default();
    cells.add(&cell(2, "b"), COUNTED, 2);
    cells.add(&cell(1, "a"), COUNTED, 0);
    let mut more = ClickCells::default();
    more.add(&cell(2, "b"), COUNTED, 1);
    more.add(&cell(3, "c"), COUNTED, 1);
    let (mut added, mut merged) = (ClickCells::default(), ClickCells::default());
    for each in [&cells, &more, &cells] {
        added.add_all(each);
        merged.merge(&each.encode()).unwrap();
    }
    assert_eq!(added.encode(), merged.encode());
    assert_eq!(sums(&added).iter().map(|(.., sums)| sums[0]).collect::<Vec<_>>(), [5, 1]);
}

#[test]
fn devices_are_told_by_their_names() {
    for (agent, expected) in [
        ("Mozilla/5.0 (IPHONE; Mobile)", "ios"),
        ("Android iPad", "ios"),
        ("Mobile Android", "android"),
        ("Windows Phone", "mobile"),
        ("a TABLET", "mobile"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "desktop"),
        ("", "desktop"),
    ] {
        assert_eq!(device(agent), expected, "{agent}");
    }
}
