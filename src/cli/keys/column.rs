//! The columns of an import of keys.
//!
//! No message has a value in it: the first line may hold a secret.

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Key,
    Name,
    Owner,
    TenantId,
    Allow,
    Rights,
    Identifiers,
    Numbers,
    RequiresToken,
    PostOnly,
    ReasonRequired,
    QueryPasswords,
    Expires,
}

impl Column {
    /// Their names; the first column has three.
    pub(super) const NAMES: [(&'static str, Self); 15] = [
        ("key", Self::Key),
        ("apiKey", Self::Key),
        ("guid", Self::Key),
        ("name", Self::Name),
        ("owner", Self::Owner),
        ("tenantID", Self::TenantId),
        ("allow", Self::Allow),
        ("rights", Self::Rights),
        ("identifiers", Self::Identifiers),
        ("numbers", Self::Numbers),
        ("requiresToken", Self::RequiresToken),
        ("postOnly", Self::PostOnly),
        ("reasonRequired", Self::ReasonRequired),
        ("queryPasswords", Self::QueryPasswords),
        ("expires", Self::Expires),
    ];

    fn named(name: &str) -> Option<Self> {
        let is_it = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(name);
        Self::NAMES.iter().find(is_it).map(|(_, column)| *column)
    }

    /// Its documented name.
    pub(super) fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, column)| *column == self).map_or("", |(name, _)| name)
    }
}

/// The columns that the first line names.
///
/// # Errors
///
/// What is wrong with that line.
pub(super) fn header(names: &[&str]) -> Result<Vec<Column>, String> {
    if names.len() == 1 && names[0].contains([';', '\t']) {
        return Err("separate the columns with commas (the first line names them)".to_owned());
    }
    let mut columns = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let Some(column) = Column::named(name.trim()) else {
            let known = shown(name.trim()).map(|name| format!(" `{name}`")).unwrap_or_default();
            return Err(format!(
                "column {}{known} is unknown (the first line names the columns)",
                index + 1
            ));
        };
        if columns.contains(&column) {
            return Err(format!("column `{}` is there twice", column.as_str()));
        }
        columns.push(column);
    }
    for column in [Column::Key, Column::Name] {
        if !columns.contains(&column) {
            let name = column.as_str();
            return Err(format!("no column is called `{name}` (the first line names the columns)"));
        }
    }
    Ok(columns)
}

/// A name that may be quoted: in a file without names the first line holds a secret, or a part of
/// one.
fn shown(name: &str) -> Option<&str> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_- ".contains(&byte));
    ((1..=24).contains(&name.len()) && is_word).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_known_columns_once_and_a_missing_one_shows_no_secret() {
        for (names, problem) in [
            ("key,name,colour", "column 3 `colour` is unknown"),
            ("key,name,apiKey", "column `key` is there twice"),
            ("key", "no column is called `name`"),
            ("name", "no column is called `key`"),
            ("", "column 1 is unknown"),
            ("0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47,phones", "column 1 is unknown"),
            ("0f5c2b7e6b0a,phones", "column 1 is unknown"),
            ("key;name;owner", "separate the columns with commas"),
            ("key\tname", "separate the columns with commas"),
            ("0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47;phones", "separate the columns with commas"),
        ] {
            let said = header(&names.split(',').collect::<Vec<_>>()).unwrap_err();
            assert!(said.starts_with(problem) && !said.contains("0f5c"), "{names}: {said}");
        }
    }
}
