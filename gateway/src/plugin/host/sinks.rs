//! Lines to where the operator said.

use std::borrow::Cow;

use wasmtime::Result;

use crate::plugin::{
    bindings::sinks::{Host, SinkError},
    services::{Dropped, SinkRefusal},
    state::State,
};

/// A longer line is not written.
const LINE_BYTES: usize = 64 * 1024;

impl Host for State {
    fn write(&mut self, sink: String, line: Vec<u8>) -> Result<std::result::Result<(), SinkError>> {
        if !self.identity.grants.sinks.allows(&sink) {
            return Ok(Err(SinkError::Denied(sink)));
        }
        if line.len() > LINE_BYTES {
            self.meter.dropped(Dropped::LogLines, 1);
            return Ok(Err(SinkError::Dropped));
        }
        Ok(match self.services()?.shared.sinks.write(&sink, &one_line(&line)) {
            Ok(()) => Ok(()),
            Err(SinkRefusal::Unknown) => Err(SinkError::Denied(sink)),
            Err(SinkRefusal::Dropped) => {
                self.meter.dropped(Dropped::LogLines, 1);
                Err(SinkError::Dropped)
            }
        })
    }
}

/// A line end within the line would make two of it, the second one forged.
fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let ends_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !line.iter().any(|byte| ends_line(byte)) {
        return Cow::Borrowed(line);
    }
    Cow::Owned(line.iter().map(|byte| if ends_line(byte) { b' ' } else { *byte }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(&*one_line(b"a\r\nb"), b"a  b");
        assert!(matches!(one_line(b"ab"), Cow::Borrowed(_)));
    }
}
