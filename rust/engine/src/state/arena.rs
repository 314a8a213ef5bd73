//! Numbered rows that come and go, and short lists of rows beside them.

use super::chunks::{at, number, Chunks, Row};

/// Rows with numbers; a number freed is the next one given out.
#[derive(Clone, Debug)]
pub(crate) struct Arena<T> {
    pub(crate) rows: Chunks<T>,
    pub(crate) free: Chunks<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { rows: Chunks::default(), free: Chunks::default() }
    }
}

impl<T: Row> Arena<T> {
    /// How many rows are in use.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.bytes() + self.free.bytes()
    }

    /// The row of a number.
    #[inline]
    pub(crate) fn get(&self, row: u32) -> Option<&T> {
        self.rows.get(at(row))
    }

    /// The row of a number, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, row: u32) -> Option<&mut T> {
        self.rows.get_mut(at(row))
    }

    /// Stores a row; its number.
    pub(crate) fn insert(&mut self, row: T) -> u32 {
        if let Some(free) = self.free.pop() {
            self.rows.set(at(free), row);
            return free;
        }
        number(self.rows.push(row))
    }

    /// Clears a row and keeps its number for the next one.
    pub(crate) fn remove(&mut self, row: u32) {
        self.rows.set(at(row), T::default());
        self.free.push(row);
    }
}

/// Items of the smallest list; each class of lists has room for twice as many as the one below.
const LIST_ITEMS_MIN: usize = 2;
/// Classes of lists: from 2 items to 128.
const CLASSES: usize = 7;

/// Lists of up to 128 items. A list is known by its length and its place, which the owner keeps;
/// an empty list has no place.
#[derive(Clone, Debug)]
pub(crate) struct Lists<T> {
    pub(crate) classes: [Class<T>; CLASSES],
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { classes: std::array::from_fn(|_| Class::default()) }
    }
}

/// All lists of one size.
#[derive(Clone, Debug)]
pub(crate) struct Class<T> {
    pub(crate) items: Chunks<T>,
    pub(crate) free: Chunks<u32>,
}

impl<T> Default for Class<T> {
    fn default() -> Self {
        Self { items: Chunks::default(), free: Chunks::default() }
    }
}

impl<T: Row> Class<T> {
    fn take(&mut self, room: usize) -> u32 {
        if let Some(free) = self.free.pop() {
            return free;
        }
        let place = number(self.items.len() / room);
        for _ in 0..room {
            self.items.push(T::default());
        }
        place
    }

    fn put(&mut self, place: u32, room: usize, items: &[T]) {
        let start = at(place) * room;
        for offset in 0..room {
            self.items.set(start + offset, items.get(offset).copied().unwrap_or_default());
        }
    }
}

fn class_of(len: usize) -> usize {
    at(len.div_ceil(LIST_ITEMS_MIN).next_power_of_two().ilog2())
}

fn room_of(class: usize) -> usize {
    LIST_ITEMS_MIN << class
}

impl<T: Row + PartialEq> Lists<T> {
    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.classes.iter().map(|class| class.items.bytes() + class.free.bytes()).sum()
    }

    /// The items of a list.
    #[inline]
    pub(crate) fn get(&self, place: u32, len: usize) -> &[T] {
        if len == 0 {
            return &[];
        }
        let class = class_of(len);
        let rows = self.classes.get(class).map(|class| &class.items);
        rows.map_or(&[], |rows| rows.slice(at(place) * room_of(class), len))
    }

    /// Replaces a list by another; the new place. Only what differs is written.
    pub(crate) fn replace(&mut self, place: u32, len: usize, items: &[T]) -> u32 {
        let (old, new) = (class_of(len), class_of(items.len()));
        if len > 0 && !items.is_empty() && old == new {
            if let Some(class) = self.classes.get_mut(old) {
                class.update(at(place) * room_of(old), len, items);
            }
            return place;
        }
        if let Some(class) = self.classes.get_mut(old).filter(|_| len > 0) {
            class.put(place, room_of(old), &[]);
            class.free.push(place);
        }
        match self.classes.get_mut(new).filter(|_| !items.is_empty()) {
            Some(class) => {
                let place = class.take(room_of(new));
                class.put(place, room_of(new), items);
                place
            }
            None => 0,
        }
    }
}

impl<T: Row + PartialEq> Class<T> {
    fn update(&mut self, start: usize, len: usize, items: &[T]) {
        for offset in 0..len.max(items.len()) {
            let item = items.get(offset).copied().unwrap_or_default();
            if self.items.get(start + offset) != Some(&item) {
                self.items.set(start + offset, item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_class_has_room_for_its_lengths_and_not_one_more() {
        for len in 1..=128 {
            let class = class_of(len);
            assert!(len <= room_of(class), "{len}");
            assert!(class == 0 || len > room_of(class - 1), "{len}");
        }
        assert_eq!(class_of(128), CLASSES - 1);
    }

    proptest! {
        #[test]
        fn lists_keep_their_items_whatever_the_others_do(
            steps in prop::collection::vec((0_usize..20, 0_usize..=128, any::<u32>()), 0..200),
        ) {
            let mut lists = Lists::<u32>::default();
            let mut model: Vec<(u32, Vec<u32>)> = vec![(0, Vec::new()); 20];
            for (which, len, seed) in steps {
                let items: Vec<u32> =
                    (0..len).map(|i| seed.wrapping_add(number(i)).max(1)).collect();
                let (place, old) = &model[which];
                let place = lists.replace(*place, old.len(), &items);
                model[which] = (place, items);
                for (place, items) in &model {
                    prop_assert_eq!(lists.get(*place, items.len()), items.as_slice());
                }
            }
        }
    }
}
