//! One line of an import of keys: what its cells say about a key.
//!
//! No message has a value in it: the wrong column may hold the secret.

use std::fmt;

use super::column::Column;
use super::create::without_repeats;
use super::values::{Expiry, check_scope_all, key_name, owner, peer, tenant};
use crate::clock::Timestamp;
use crate::id::{TenantId, canonical_guid};
use crate::keys::KeyWish;
use crate::keys::weak::weakness;
use crate::model::key::{Peer, PeerProblem};
use crate::model::rights::Right;
use crate::secret::Secret;

/// A key to be imported.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) wish: KeyWish,
    /// In canonical spelling.
    pub(super) secret: Secret<String>,
    /// Why the secret could be guessed, if so.
    pub(super) weakness: Option<&'static str>,
    /// What could be the secret of another line, and in which column.
    pub(super) mentions: Vec<(Column, Guid)>,
}

/// A GUID without its spelling.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Guid(u128);

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The key of a line, also of one that is wrong elsewhere; none when there is none, or when it
/// cannot be told which cell it is.
pub(super) fn guid(columns: &[Column], cells: &[&str]) -> Option<Guid> {
    if cells.len() != columns.len() {
        return None;
    }
    let position = columns.iter().position(|column| *column == Column::Key)?;
    guids(&canonical_guid(cells.get(position)?.trim())?).next()
}

/// What the cells of a line say; `default_tenant` has the keys of lines without one.
///
/// # Errors
///
/// Everything that is wrong with it, without a value.
pub(super) fn read(
    columns: &[Column],
    cells: &[&str],
    default_tenant: Option<&TenantId>,
    now: Timestamp,
) -> Result<Line, Vec<String>> {
    if cells.len() != columns.len() {
        let (expected, found) = (columns.len(), cells.len());
        let problem = format!("expected {expected} columns as in the first line, found {found}");
        return Err(vec![problem]);
    }
    let mut cells = Cells { columns, texts: cells, faults: Vec::new() };
    cells.refuse_the_key_elsewhere();
    let expiry =
        |text: &str| text.parse::<Expiry>().map_err(str::to_owned).and_then(|at| at.after(now));
    let secret = cells.required(Column::Key, |text| {
        canonical_guid(text).map(Secret::new).ok_or_else(|| "expected a GUID".to_owned())
    });
    let name = cells.required(Column::Name, key_name);
    let given = cells.read(Column::TenantId, tenant);
    let tenant = given.or_else(|| default_tenant.cloned());
    if tenant.is_none() {
        cells.wrong(Column::TenantId, "name the tenant, or configure graph.tenant_id");
    }
    let mut wish = KeyWish {
        owner: cells.read(Column::Owner, owner),
        requires_token: cells.read(Column::RequiresToken, flag).unwrap_or(false),
        rights: cells.read(Column::Rights, rights).unwrap_or_default(),
        identifiers: cells.read(Column::Identifiers, list(parsed)).unwrap_or_default(),
        numbers: cells.read(Column::Numbers, list(parsed)).unwrap_or_default(),
        peers: cells.read(Column::Allow, list(peer_of_a_line)).unwrap_or_default(),
        post_only: cells.read(Column::PostOnly, flag).unwrap_or(false),
        reason_required: cells.read(Column::ReasonRequired, flag).unwrap_or(false),
        query_passwords: cells.read(Column::QueryPasswords, flag).unwrap_or(true),
        expires_at: cells.read(Column::Expires, expiry),
        ..KeyWish::named(String::new(), TenantId::new(""))
    };
    let (Some(secret), Some(name), Some(tenant), []) =
        (secret, name, tenant, cells.faults.as_slice())
    else {
        return Err(cells.into_faults());
    };
    (wish.name, wish.tenant) = (name, tenant);
    let (weakness, mentions) = (weakness(&secret), cells.mentions());
    Ok(Line { wish, secret, weakness, mentions })
}

/// The cells of a line, and what is wrong with them.
struct Cells<'a> {
    columns: &'a [Column],
    texts: &'a [&'a str],
    faults: Vec<(Column, String)>,
}

impl<'a> Cells<'a> {
    fn all(&self) -> impl Iterator<Item = (Column, &'a str)> + use<'a> {
        self.columns.iter().copied().zip(self.texts.iter().map(|cell| cell.trim()))
    }

    /// Whatever stands in another column is shown in lists, and a host name is asked for.
    fn refuse_the_key_elsewhere(&mut self) {
        let Some(key) = guid(self.columns, self.texts) else { return };
        for (column, text) in self.all().filter(|(column, _)| *column != Column::Key) {
            if guids(text).any(|found| found == key) {
                self.wrong(column, "contains the key");
            }
        }
    }

    /// The value of a cell, when it has one and nothing is wrong with it.
    fn read<T>(
        &mut self,
        column: Column,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, text) = self.all().find(|(known, text)| *known == column && !text.is_empty())?;
        read(text).map_err(|problem| self.wrong(column, &problem)).ok()
    }

    fn required<T>(
        &mut self,
        column: Column,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let is_there = self.all().any(|(known, text)| known == column && !text.is_empty());
        if !is_there {
            self.wrong(column, "is empty");
        }
        self.read(column, read)
    }

    /// Notes the first problem of each column.
    fn wrong(&mut self, column: Column, problem: &str) {
        if !self.faults.iter().any(|(known, _)| *known == column) {
            self.faults.push((column, problem.to_owned()));
        }
    }

    fn into_faults(self) -> Vec<String> {
        let position = |wanted| self.columns.iter().position(|column| *column == wanted);
        let mut faults = self.faults;
        faults.sort_by_key(|(column, _)| position(*column));
        faults.iter().map(|(column, problem)| format!("{}: {problem}", column.as_str())).collect()
    }

    fn mentions(&self) -> Vec<(Column, Guid)> {
        let others = self.all().filter(|(column, _)| *column != Column::Key);
        others.flat_map(|(column, text)| guids(text).map(move |found| (column, found))).collect()
    }
}

/// Everything in `text` that could be a GUID, however it is spelt: any 32 hexadecimal digits with
/// no other letter between them.
fn guids(text: &str) -> impl Iterator<Item = Guid> {
    let digits = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_digit(16));
    digits
        .scan((0, 0_u128), |(length, value), digit| {
            *length = digit.map_or(0, |_| *length + 1);
            *value = *value << 4 | u128::from(digit.unwrap_or_default());
            Some((*length >= 32).then_some(Guid(*value)))
        })
        .flatten()
}

/// From where the key may be used, without a word of what was written.
fn peer_of_a_line(text: &str) -> Result<Peer, String> {
    peer(text).map_err(|problem| match problem {
        PeerProblem::Unknown(unknown) => unknown.to_string(),
        PeerProblem::HostBits(..) => {
            "write 10.0.0.0/8 for a network, or 10.0.0.1 for one address, not 10.0.0.1/8".to_owned()
        }
    })
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err("expected 1, true or yes, or 0, false or no".to_owned()),
    }
}

fn parsed<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn rights(text: &str) -> Result<Vec<Right>, String> {
    let rights = list(parsed)(text)?;
    check_scope_all(&rights)?;
    Ok(rights)
}

/// Reads the parts between semicolons, each once.
fn list<T: PartialEq>(
    read: impl Fn(&str) -> Result<T, String>,
) -> impl FnOnce(&str) -> Result<Vec<T>, String> {
    move |text| {
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        parts.map(read).collect::<Result<_, _>>().map(without_repeats)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::keys::column::header;
    use crate::model::selector::IdentifierKind;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const KEY: &str = "0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47";

    fn line(names: &str, cells: &str) -> Result<Line, String> {
        let columns = header(&names.split(',').collect::<Vec<_>>())?;
        let tenant = TenantId::new("contoso.example");
        let read = read(&columns, &cells.split(',').collect::<Vec<_>>(), Some(&tenant), NOW);
        read.map_err(|faults| faults.join("; "))
    }

    /// The GUID of [`KEY`] as people spell it.
    fn spellings() -> Vec<String> {
        let bare = KEY.replace('-', "");
        let groups: Vec<_> = (0..8).map(|at| &bare[at * 4..][..4]).collect();
        vec![
            KEY.to_owned(),
            KEY.to_uppercase(),
            format!("{{{KEY}}}"),
            bare.clone(),
            format!("urn:uuid:{KEY}"),
            groups.join(":"),
            groups.join(" "),
            format!("of {bare}, Jane"),
        ]
    }

    #[test]
    fn a_line_of_two_columns_is_a_key_with_the_usual_rights() {
        for spelling in [
            KEY.to_owned(),
            KEY.to_uppercase(),
            KEY.replace('-', ""),
            format!("{{{KEY}}}"),
            format!(" {KEY} "),
        ] {
            for column in ["key", "apiKey", "guid", "GUID", " key "] {
                let line = line(&format!("{column},name"), &format!("{spelling},phones")).unwrap();
                assert_eq!(line.secret.expose(), KEY, "{spelling}");
                assert_eq!((line.wish.name.as_str(), line.weakness), ("phones", None));
                assert!(line.wish.rights.is_empty() && line.wish.query_passwords);
                assert!(!line.wish.requires_token && !line.wish.post_only);
            }
        }
    }

    #[test]
    fn every_column_is_read_in_whatever_order() {
        let names = "expires,queryPasswords,reasonRequired,postOnly,requiresToken,numbers,\
                     identifiers,rights,allow,tenantID,owner,name,key";
        let cells = format!(
            "90d,no,YES,1,true,+4930*;8???,callid;extension,DeleteCall; deletecall ;Notify,\
             192.0.2.0/24;pbx.example.com,FABRIKAM.example,Jane,PBX,{KEY}"
        );
        let wish = line(names, &cells).unwrap().wish;
        assert_eq!((wish.name.as_str(), wish.owner.as_deref()), ("PBX", Some("Jane")));
        assert_eq!(wish.tenant.as_str(), "fabrikam.example");
        assert_eq!(wish.rights, [Right::DeleteCall, Right::Notify]);
        assert_eq!(wish.identifiers, [IdentifierKind::CallId, IdentifierKind::Extension]);
        assert_eq!((wish.numbers.len(), wish.peers.len()), (2, 2));
        assert!(wish.requires_token && wish.post_only && wish.reason_required);
        assert!(!wish.query_passwords && wish.expires_at > Some(NOW));
    }

    #[test]
    fn what_is_wrong_is_said_by_column_and_without_a_value() {
        let with = |column: &str, cell: &str| {
            line(&format!("key,name,{column}"), &format!("{KEY},phones,{cell}")).unwrap_err()
        };
        for (column, cell, problem) in [
            ("expires", "soon", "expires: expected a date and time"),
            ("expires", "2020-01-01T00:00:00Z", "lies in the past"),
            ("allow", "192.0.2.0/33", "allow: expected an address"),
            ("allow", "192.0.2.7/24", "allow: write 10.0.0.0/8 for a network"),
            ("rights", "All", "rights: unknown right"),
            ("rights", "scope-all", "rights: scope-all does nothing without DeleteCall"),
            ("rights", "DeleteCall;scope-all:1;scope-all", "rights: scope-all is there twice"),
            ("identifiers", "number", "identifiers: expected one of callID"),
            ("postOnly", "on", "postOnly: expected 1, true or yes"),
            ("tenantID", "common", "tenantID: expected the tenant's GUID"),
        ] {
            let said = with(column, cell);
            assert!(said.contains(problem), "{column}={cell}: {said}");
        }
        for (cells, problem) in [
            ("0f5c2b7e,phones", "key: expected a GUID"),
            (",phones", "key: is empty"),
            ("0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47,ab", "name: a name has 3 to 128 characters"),
            ("0f5c2b7e-6b0a-4d3e-9a61-3f1f6c2d8e47", "expected 2 columns"),
        ] {
            let said = line("key,name", cells).unwrap_err();
            assert!(said.contains(problem) && !said.contains("0f5c"), "{cells}: {said}");
        }
    }

    #[test]
    fn no_tenant_at_all_is_a_fault_of_the_line() {
        let columns = header(&["key", "name"]).unwrap();
        let faults = read(&columns, &[KEY, "phones"], None, NOW).unwrap_err();
        assert_eq!(faults, ["tenantID: name the tenant, or configure graph.tenant_id"]);
    }

    #[test]
    fn a_key_that_stands_in_another_column_too_is_refused_in_whatever_spelling() {
        for (name, column) in &Column::NAMES[3..] {
            for spelling in spellings() {
                let columns = [Column::Key, *column];
                let faults = read(&columns, &[KEY, &spelling], None, NOW).unwrap_err();
                let problem = format!("{name}: contains the key");
                assert!(faults.contains(&problem), "{name}={spelling}: {faults:?}");
            }
        }
    }

    #[test]
    fn what_could_be_a_key_of_another_line_is_told_by_column() {
        for spelling in spellings() {
            let other = "b84d0f0c-2f44-4f0b-8d37-51a6e2c09d13";
            let columns = [Column::Key, Column::Name];
            let tenant = TenantId::new("contoso.example");
            let line = read(&columns, &[other, &spelling], Some(&tenant), NOW).unwrap();
            let key = guid(&columns, &[KEY, ""]).unwrap();
            assert!(line.mentions.contains(&(Column::Name, key)), "{spelling}");
            assert!(!format!("{line:?}").contains("mentions: [(Name, Guid"));
        }
        assert_eq!(line("key,name", &format!("{KEY},phones")).unwrap().mentions, []);
    }

    #[test]
    fn everything_that_is_wrong_with_a_line_is_said_in_the_order_of_its_columns() {
        let said = line("postOnly,key,rights,name", "maybe,12345,All,ab").unwrap_err();
        let faults: Vec<_> = said.split("; ").map(|fault| fault.split(':').next()).collect();
        assert_eq!(faults, ["postOnly", "key", "rights", "name"].map(Some), "{said}");
    }

    proptest! {
        #[test]
        fn no_cells_panic_and_no_fault_has_the_key_in_it(
            cells in proptest::collection::vec("[ -~äöü;]{0,40}", 13),
            with_key in 0..13usize,
        ) {
            let all: Vec<Column> = Column::NAMES[2..].iter().map(|(_, column)| *column).collect();
            let mut cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            cells[with_key] = KEY;
            let tenant = TenantId::new("contoso.example");
            match read(&all, &cells, Some(&tenant), NOW) {
                Err(problems) => prop_assert!(!problems.concat().contains(KEY), "{problems:?}"),
                Ok(line) => prop_assert_eq!(line.secret.expose(), KEY),
            }
            if let Err(problem) = header(&cells) {
                prop_assert!(!problem.contains(KEY), "{problem}");
            }
        }
    }
}
