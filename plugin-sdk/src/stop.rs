//! What a refused edit means for a plugin that decides about requests.

/// Implements the conversion of refused edits into a plugin's own reason to stop, so that `?` can be used behind them. The type has
/// the variants `Refused(…)`, of which the value for edits that are too large is given, and `Failed(Error)`.
///
/// An edit is [too large](crate::EditError::TooLarge) because of what the client, or a service, has sent. That must not make the
/// plugin fail: a route may be configured to skip plugins that fail, and a client could have itself let in by a large header. Every
/// other refused edit is the plugin's own mistake.
///
/// ```
/// use plugin_sdk::{EditError, Error, stop_on_refused_edits};
///
/// #[derive(Debug, PartialEq)]
/// enum Refusal {
///     NoRoom,
/// }
///
/// #[derive(Debug)]
/// enum Stop {
///     Refused(Refusal),
///     Failed(Error),
/// }
///
/// stop_on_refused_edits!(Stop, Refusal::NoRoom);
///
/// assert!(matches!(Stop::from(EditError::TooLarge), Stop::Refused(Refusal::NoRoom)));
/// assert!(matches!(Stop::from(EditError::Forbidden), Stop::Failed(_)));
/// ```
#[macro_export]
macro_rules! stop_on_refused_edits {
    ($stop:ident, $too_large:expr) => {
        impl ::core::convert::From<$crate::EditError> for $stop {
            fn from(error: $crate::EditError) -> Self {
                match error {
                    $crate::EditError::TooLarge => Self::Refused($too_large),
                    error => Self::Failed(error.into()),
                }
            }
        }

        impl ::core::convert::From<$crate::RefusedEdit> for $stop {
            fn from(refused: $crate::RefusedEdit) -> Self {
                refused.error.into()
            }
        }
    };
}
