//! Standard output and error without a runtime behind them.
//!
//! `println!` and the panic message end in libc's `writev`. The one of wasi-libc brings a table of file
//! descriptors, terminals, the environment and `wasi:io/poll` into every plugin, and with the last of them
//! the gateway would have to assume that a plugin can wait. These definitions come before libc's in the
//! link; a symbol defined twice would be a link error, so it cannot silently be otherwise.

use core::ffi::{c_char, c_int, c_void};

use wasip2::cli::{stderr::get_stderr, stdout::get_stdout};

#[repr(C)]
struct IoVec {
    base: *const u8,
    len: usize,
}

/// Writes to the gateway's log. What the gateway does not take at once is lost: a plugin never waits for it.
fn emit(descriptor: c_int, mut bytes: &[u8]) {
    let stream = if descriptor == 2 { get_stderr() } else { get_stdout() };
    while !bytes.is_empty() {
        let Ok(permit @ 1..) = stream.check_write() else { return };
        let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(permit).unwrap_or(usize::MAX)));
        if stream.write(now).is_err() {
            return;
        }
        bytes = rest;
    }
    let _ = stream.flush();
}

/// # Safety
///
/// POSIX: `buffer` points to `len` readable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(descriptor: c_int, buffer: *const c_void, len: usize) -> isize {
    // SAFETY: the caller's promise.
    emit(descriptor, unsafe { core::slice::from_raw_parts(buffer.cast(), len) });
    len as isize
}

/// # Safety
///
/// POSIX: `vectors` points to `count` vectors, each of readable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(descriptor: c_int, vectors: *const IoVec, count: c_int) -> isize {
    let mut written = 0;
    for i in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller's promise.
        let vector = unsafe { &*vectors.add(i) };
        if vector.len > 0 {
            // SAFETY: the caller's promise.
            emit(descriptor, unsafe { core::slice::from_raw_parts(vector.base, vector.len) });
            written += vector.len as isize;
        }
    }
    written
}

/// There is no environment: the operator's secrets are granted one by one.
#[unsafe(no_mangle)]
extern "C" fn getenv(_name: *const c_char) -> *const c_char {
    core::ptr::null()
}
