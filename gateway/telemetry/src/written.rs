//! Writing a batch, and how much of it was written.

use std::io::{self, Write};

/// What came of writing a batch.
pub(super) struct Written {
    /// So much of it, from its beginning.
    pub(super) bytes: usize,
    /// Why not more, or what else went wrong.
    pub(super) error: Option<io::Error>,
}

impl Written {
    pub(super) fn nothing(error: Option<io::Error>) -> Self {
        Self { bytes: 0, error }
    }
}

/// As `write_all`, and says how far it came.
pub(super) fn write_all(to: &mut impl Write, batch: &[u8]) -> Written {
    let mut bytes = 0;
    while bytes < batch.len() {
        match to.write(&batch[bytes..]) {
            Ok(0) => return Written { bytes, error: Some(io::ErrorKind::WriteZero.into()) },
            Ok(n) => bytes += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Written { bytes, error: Some(error) },
        }
    }
    Written { bytes, error: None }
}
