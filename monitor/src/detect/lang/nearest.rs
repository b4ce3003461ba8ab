//! What somebody probably meant.

/// The one of these names that is most like a word, when it is like it.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes the product of the lengths, and nothing that is meant seriously is longer.
    if word.len() > 100 {
        return None;
    }
    let most = match word.chars().count() {
        0 => return None,
        1..=2 => 1,
        3..=6 => 2,
        _ => 3,
    };
    names
        .into_iter()
        .filter(|name| *name != word && name.len() <= 100)
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= most && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
