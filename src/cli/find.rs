//! Finds an object by the beginning of its id, as tables show them.

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::output::document::Document;
use crate::cli::request::Target;
use crate::cli::session::Session;

/// How far back a prefix is looked for.
const NEWEST: usize = 2000;
/// The length of a UUID: what is that long needs no search.
const WHOLE: usize = 36;

/// The whole id of the one object in `list` whose id begins with `given`.
///
/// # Errors
/// [`Exit::NotFound`] where none does, [`Exit::Usage`] where several do.
pub async fn by_prefix(
    session: &Session,
    list: &Target,
    kind: &str,
    given: &str,
) -> Result<String> {
    if given.len() >= WHOLE {
        return Ok(given.to_owned());
    }
    let (_, items) = session.client.list::<Named>(list, Some(NEWEST)).await?;
    let ids: Vec<String> = items.into_iter().map(|item| item.id).collect();
    pick(kind, given, &ids)
}

#[derive(serde::Deserialize)]
struct Named {
    id: String,
}

fn pick(kind: &str, given: &str, ids: &[String]) -> Result<String> {
    if let Some(id) = ids.iter().find(|id| *id == given) {
        return Ok(id.clone());
    }
    let found: Vec<&String> = ids.iter().filter(|id| id.starts_with(given)).collect();
    match found.as_slice() {
        [id] => Ok((*id).clone()),
        [] => Err(CliError::new(
            Exit::NotFound,
            format!("no {kind} has an id that begins with {given:?}"),
        )),
        several => {
            let shown = several.iter().take(5).map(|id| (*id).clone());
            Err(CliError::usage(format!(
                "{} {kind}s have ids that begin with {given:?}",
                several.len()
            ))
            .details(shown)
            .hint("give more of the id"))
        }
    }
}

/// Reads an operation or crash as the server sent it, found by prefix.
///
/// # Errors
/// As [`by_prefix`].
pub async fn read(session: &Session, noun: &str, kind: &str, given: &str) -> Result<Document> {
    let list = Target::new([noun]);
    let id = by_prefix(session, &list, kind, given).await?;
    session.client.get(&list.join(&id)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_fits_is_picked() {
        let ids = [
            "aa1".to_owned(),
            "aa2".to_owned(),
            "aa".to_owned(),
            "b".to_owned(),
        ];
        assert_eq!(pick("crash", "aa1", &ids).unwrap(), "aa1");
        assert_eq!(pick("crash", "b", &ids).unwrap(), "b");
        // An id that is itself the beginning of others.
        assert_eq!(pick("crash", "aa", &ids).unwrap(), "aa");
        assert_eq!(pick("crash", "a", &ids).unwrap_err().exit, Exit::Usage);
        assert_eq!(pick("crash", "c", &ids).unwrap_err().exit, Exit::NotFound);
    }
}
