//! What the digests of a brand begin with, worked out once: the key, and the brand's number.

use std::collections::HashMap;
use std::sync::Arc;

use headwater_engine::identity::digest::BrandDigests;
use headwater_engine::limits::HOT_BRANDS_MAX;

use crate::address::Digests;
use crate::lane::DayKeys;

/// The digests of one brand.
#[derive(Debug)]
pub(crate) struct Brand {
    pub(crate) identifiers: BrandDigests,
    /// Of addresses, under the day's key and that of the day before.
    pub(crate) today: Option<Digests>,
    pub(crate) before: Option<Digests>,
}

/// Brands by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Brands(HashMap<u64, Arc<Brand>>);

impl Brands {
    /// A brand under the keys in force; `None` when the deployment's key is none.
    pub(crate) fn get(
        &mut self,
        number: u64,
        identity_key: &[u8],
        keys: &DayKeys,
    ) -> Option<Arc<Brand>> {
        if let Some(brand) = self.0.get(&number) {
            return Some(Arc::clone(brand));
        }
        if self.0.len() >= HOT_BRANDS_MAX {
            self.clear();
        }
        let under = |key: &Option<Vec<u8>>| key.as_ref().map(|key| Digests::new(key, number));
        let brand = Arc::new(Brand {
            identifiers: BrandDigests::new(identity_key, number).ok()?,
            today: under(&keys.today),
            before: under(&keys.before),
        });
        self.0.insert(number, Arc::clone(&brand));
        Some(brand)
    }

    /// Other keys are in force.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_bound_all_brands_are_worked_out_anew() {
        let mut brands = Brands::default();
        let keys = DayKeys::default();
        for number in 0..HOT_BRANDS_MAX as u64 {
            assert!(brands.get(number, &[1; 32], &keys).is_some());
            assert!(brands.get(number, &[1; 32], &keys).is_some());
        }
        assert_eq!(brands.0.len(), HOT_BRANDS_MAX);
        assert!(brands.get(HOT_BRANDS_MAX as u64, &[1; 32], &keys).is_some());
        assert_eq!(brands.0.len(), 1);
    }

    #[test]
    fn a_key_that_is_none_digests_nothing() {
        assert!(Brands::default().get(1, &[], &DayKeys::default()).is_none());
    }
}
