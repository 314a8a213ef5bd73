//! What a brand's history leaves behind, in structures a snapshot can share.

pub(crate) mod arena;
pub mod brand;
pub(crate) mod chunks;
pub mod clicks;
pub mod controls;
pub mod cow;
pub mod due;
pub(crate) mod id_index;
pub mod orders;
pub mod producers;
pub mod ranges;
pub mod recent;
pub mod resting;
pub mod waiting;
