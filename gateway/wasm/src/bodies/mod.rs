//! Bodies that plugins read: whole (`gather`), or chunk by chunk (`following`; `passing` makes the calls).

pub(crate) mod following;
pub(crate) mod gather;
