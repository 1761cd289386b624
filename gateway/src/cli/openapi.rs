//! `gateway openapi`.

use super::{Failed, OpenapiArgs, print};
use crate::app::{self, Source};

pub(super) fn openapi(args: &OpenapiArgs) -> Result<(), Failed> {
    let document = app::openapi(&Source::File(args.config.config.clone()), &args.title)?;
    print(format_args!("{document:#}"))
}
