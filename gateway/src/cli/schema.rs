//! `gateway schema`.

use super::{Failed, print};
use crate::app;

pub(super) fn schema() -> Result<(), Failed> {
    let schema = app::schema()?;
    print(serde_json::to_string_pretty(&schema).map_err(|error| Failed::Stopped(error.to_string()))?)?;
    Ok(())
}
