//! The nearest right word to a wrong one.

/// The longest word that is compared; longer ones are no typing errors.
const MAX_COMPARED: usize = 64;

/// The candidate that `word` was probably meant to be, if one is near enough.
///
/// The same letters but for case, dashes and underscores win; else at most a third of the letters
/// may differ (transpositions count once). The first of equals.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    if word.is_empty() || word.len() > MAX_COMPARED {
        return None;
    }
    let wanted = folded(word);
    candidates
        .map(|candidate| (strsim::osa_distance(&wanted, &folded(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(3) / 3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn folded(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_find_their_word() {
        let keys = [
            "num_instances",
            "memory",
            "cmd",
            "port",
            "ports",
            "persistent_dirs",
        ];
        for (word, right) in [
            ("num_instance", Some("num_instances")),
            ("numInstances", Some("num_instances")),
            ("memroy", Some("memory")),
            ("prot", Some("port")),
            ("persistent-dirs", Some("persistent_dirs")),
            ("cdm", Some("cmd")),
            ("frobnicate", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, keys.into_iter()), right, "{word}");
        }
    }
}
