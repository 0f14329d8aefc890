//! The name that was meant by one that is not known. Owns no list of names: every error message
//! that has one brings it along.

/// The name that was probably meant, if one of these is near enough.
///
/// Case and separators do not count, so that `state_dir` finds `stateDir`; otherwise a third of
/// the letters may be wrong, missing or too many.
pub fn nearest<'n>(found: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let found = folded(found);
    names
        .into_iter()
        .map(|name| (distance(&found, &folded(name)), name))
        .filter(|(distance, name)| *distance <= name.chars().count().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

fn folded(name: &str) -> Vec<char> {
    const CHARS_MAX: usize = 64;
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).take(CHARS_MAX).collect()
}

/// How many letters to insert, delete or replace to turn one into the other (Levenshtein).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &str, expected: Option<&str>) {
        let names = ["port", "bind", "stateDir", "tokenTTL", "allowedOrigins", "enabled"];
        assert_eq!(nearest(found, names), expected);
    }

    #[test]
    fn misspelt_name_finds_the_one_that_was_meant() {
        check("prot", Some("port"));
        check("state_dir", Some("stateDir"));
        check("state-dir", Some("stateDir"));
        check("STATEDIR", Some("stateDir"));
        check("tokenttl", Some("tokenTTL"));
        check("allowedOrigin", Some("allowedOrigins"));
        check("enable", Some("enabled"));
        check("audit", None);
        check("", None);
        check(&"x".repeat(10_000), None);
    }
}
