//! An error and its causes in one line: the one place that walks a chain, wherever it is printed.

use std::error::Error;

/// Returns an error and its causes, outermost first. A cause whose words stand there already, as
/// those of a wrapper that says what it wraps do, is not said again.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Inner(#[from] Innermost);

    #[derive(Debug, thiserror::Error)]
    #[error("the key is lost")]
    struct Innermost;

    #[test]
    fn every_cause_is_told_once() {
        assert_eq!(told(&Outer(Innermost.into())), "cannot open the door: the key is lost");
        assert_eq!(told(&Inner(Innermost)), "the key is lost");
    }
}
