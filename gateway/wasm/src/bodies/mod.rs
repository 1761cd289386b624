//! Bodies that plugins read whole (`gather`).

pub(crate) mod gather;
