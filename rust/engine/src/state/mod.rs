//! What a brand's history leaves behind, in structures a snapshot can share.

pub mod brand;
pub mod controls;
pub mod cow;
pub mod due;
pub mod orders;
pub mod producers;
pub mod ranges;
