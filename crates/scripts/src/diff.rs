//! The difference between what a script expects and what came.

/// Lines of both, in order: `-` is expected and did not come, `+` came and was not expected. Tells, too, how
/// many lines agree before the first difference; `None` if all agree.
pub fn diff(expected: &[&str], actual: &[String]) -> Option<(usize, Vec<String>)> {
    let agree = expected.iter().zip(actual).take_while(|(left, right)| *left == right).count();
    let (expected_rest, actual_rest) = (&expected[agree..], &actual[agree..]);
    if expected_rest.is_empty() && actual_rest.is_empty() {
        return None;
    }
    let backwards = expected_rest.iter().rev().zip(actual_rest.iter().rev());
    let tail = backwards.take_while(|(left, right)| *left == right).count();
    let gone = &expected_rest[..expected_rest.len() - tail];
    let come = &actual_rest[..actual_rest.len() - tail];
    let before = expected[..agree].iter().map(|line| format!("  {line}"));
    let changed =
        gone.iter().map(|line| format!("- {line}")).chain(come.iter().map(|line| format!("+ {line}")));
    let after = actual_rest[actual_rest.len() - tail..].iter().map(|line| format!("  {line}"));
    Some((agree, before.chain(changed).chain(after).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agrees_stands_around_what_does_not() {
        let actual = ["a", "x", "y", "c"].map(str::to_owned);
        let lines = ["  a", "- b", "+ x", "+ y", "  c"].map(str::to_owned);
        assert_eq!(diff(&["a", "b", "c"], &actual), Some((1, lines.to_vec())));
        assert_eq!(diff(&["a", "x", "y", "c"], &actual), None);
        assert!(diff(&["a", "x", "y"], &actual).is_some() && diff(&[], &actual).is_some());
    }
}
