//! Reading, changing and writing HTTP messages.
pub mod body;
pub mod path;
