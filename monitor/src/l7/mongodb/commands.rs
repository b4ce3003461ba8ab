//! Commands, what they are about, and how they ended.

use super::bson::{self, DOCUMENT, Element};
use crate::l7::{Code, OTHER, Outcome, Status, TARGET_MAX};

/// What a command's value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// The name of a collection, if it is a text.
    Collection,
    /// Database and collection.
    Namespace,
    /// A cursor: the name stands in the element `collection`.
    Cursor,
    /// Nothing that names one; it may be what a user typed.
    Other,
}

use Value::{Collection, Cursor, Namespace, Other};

/// The commands of servers, drivers and shells (<https://www.mongodb.com/docs/manual/reference/command/>), in the order of
/// their bytes.
const COMMANDS: &[(&str, Value)] = &[
    ("abortTransaction", Other),
    ("addShard", Other),
    ("aggregate", Collection),
    ("analyze", Collection),
    ("analyzeShardKey", Namespace),
    ("appendOplogNote", Other),
    ("authenticate", Other),
    ("autoCompact", Other),
    ("balancerStart", Other),
    ("balancerStatus", Other),
    ("balancerStop", Other),
    ("buildInfo", Other),
    ("buildinfo", Other),
    ("bulkWrite", Other),
    ("checkShardingIndex", Namespace),
    ("collMod", Collection),
    ("collStats", Collection),
    ("collstats", Collection),
    ("commitTransaction", Other),
    ("compact", Collection),
    ("connPoolStats", Other),
    ("connectionStatus", Other),
    ("convertToCapped", Collection),
    ("coordinateCommitTransaction", Other),
    ("count", Collection),
    ("create", Collection),
    ("createIndexes", Collection),
    ("createRole", Other),
    ("createSearchIndexes", Collection),
    ("createUser", Other),
    ("currentOp", Other),
    ("dataSize", Namespace),
    ("dbHash", Other),
    ("dbStats", Other),
    ("dbstats", Other),
    ("delete", Collection),
    ("distinct", Collection),
    ("drop", Collection),
    ("dropAllRolesFromDatabase", Other),
    ("dropAllUsersFromDatabase", Other),
    ("dropDatabase", Other),
    ("dropIndexes", Collection),
    ("dropRole", Other),
    ("dropSearchIndex", Collection),
    ("dropUser", Other),
    ("enableSharding", Other),
    ("endSessions", Other),
    ("explain", Other),
    ("features", Other),
    ("filemd5", Other),
    ("find", Collection),
    ("findAndModify", Collection),
    ("findandmodify", Collection),
    ("fsync", Other),
    ("fsyncUnlock", Other),
    ("getClusterParameter", Other),
    ("getCmdLineOpts", Other),
    ("getDefaultRWConcern", Other),
    ("getLastError", Other),
    ("getLog", Other),
    ("getMore", Cursor),
    ("getParameter", Other),
    ("getShardMap", Other),
    ("getShardVersion", Namespace),
    ("getlasterror", Other),
    ("getnonce", Other),
    ("grantPrivilegesToRole", Other),
    ("grantRolesToRole", Other),
    ("grantRolesToUser", Other),
    ("hello", Other),
    ("hostInfo", Other),
    ("insert", Collection),
    ("isMaster", Other),
    ("isdbgrid", Other),
    ("ismaster", Other),
    ("killAllSessions", Other),
    ("killCursors", Collection),
    ("killOp", Other),
    ("killSessions", Other),
    ("listCollections", Other),
    ("listCommands", Other),
    ("listDatabases", Other),
    ("listIndexes", Collection),
    ("listSearchIndexes", Collection),
    ("listShards", Other),
    ("lockInfo", Other),
    ("logRotate", Other),
    ("logout", Other),
    ("mapReduce", Collection),
    ("mapreduce", Collection),
    ("moveChunk", Namespace),
    ("ping", Other),
    ("planCacheClear", Collection),
    ("planCacheListFilters", Collection),
    ("profile", Other),
    ("reIndex", Collection),
    ("refreshSessions", Other),
    ("renameCollection", Namespace),
    ("replSetFreeze", Other),
    ("replSetGetConfig", Other),
    ("replSetGetStatus", Other),
    ("replSetHeartbeat", Other),
    ("replSetInitiate", Other),
    ("replSetReconfig", Other),
    ("replSetRequestVotes", Other),
    ("replSetStepDown", Other),
    ("replSetUpdatePosition", Other),
    ("rolesInfo", Other),
    ("saslContinue", Other),
    ("saslStart", Other),
    ("serverStatus", Other),
    ("setParameter", Other),
    ("shardCollection", Namespace),
    ("shutdown", Other),
    ("startSession", Other),
    ("top", Other),
    ("update", Collection),
    ("usersInfo", Other),
    ("validate", Collection),
    ("whatsmyuri", Other),
];

/// The operation of a document that asks for something, and what it is about. `within`: the database, where it does not
/// stand in the document.
pub(super) fn command(body: &[u8], within: Option<&str>) -> (&'static str, Box<str>) {
    let mut elements = bson::elements(body);
    let Some(first) = elements.next() else { return (OTHER, "".into()) };
    // What a wish is wrapped in that has a read preference beside it.
    if matches!(first.key, b"$query" | b"query") && first.kind == DOCUMENT && within.is_some() {
        return match first.elements().next() {
            Some(inner) if !matches!(inner.key, b"$query" | b"query") => command(first.value, within),
            _ => (OTHER, "".into()),
        };
    }
    let known = COMMANDS.binary_search_by(|(name, _)| name.as_bytes().cmp(first.key));
    let Some((name, value)) = known.ok().and_then(|at| COMMANDS.get(at)) else { return (OTHER, "".into()) };
    let mut rest = elements;
    let collection = match value {
        Other => return (name, "".into()),
        Namespace => return (name, first.text().map(target).unwrap_or_default()),
        Collection => first.text(),
        Cursor => rest.by_ref().find(|element| element.key == b"collection").and_then(|element| element.text()),
    };
    let Some(collection) = collection else { return (name, "".into()) };
    let named = rest.find(|element| element.key == b"$db").and_then(|element| element.text());
    let target = match within.or(named) {
        Some(database) => target(&format!("{database}.{collection}")),
        // Too far away to be seen.
        None => target(collection),
    };
    (name, target)
}

/// As much of a name as is kept.
pub(super) fn target(name: &str) -> Box<str> {
    name.get(..name.floor_char_boundary(TARGET_MAX)).unwrap_or_default().into()
}

/// What a list of documents is of, where the document that says it was not seen: servers put it after the lists.
pub(super) fn of_list(name: &[u8]) -> &'static str {
    match name {
        b"documents" => "insert",
        b"updates" => "update",
        b"deletes" => "delete",
        b"ops" | b"nsInfo" => "bulkWrite",
        _ => OTHER,
    }
}

/// How a command ended.
pub(super) fn status(body: &[u8]) -> Status {
    let (mut ok, mut code, mut refused, mut cursor) = (None, None, None, false);
    let code_in = |element: &Element<'_>| {
        let inner = element.elements().find(|it| it.key == b"code")?;
        Some(inner.number())
    };
    for element in bson::elements(body) {
        match element.key {
            b"ok" => ok = element.number().map(|number| number != 0),
            b"code" => code = element.number(),
            b"cursor" => cursor = true,
            // It could do some of what was asked, or none: the first that it could not.
            b"writeErrors" => {
                let first = element.elements().next();
                refused = refused.or(first.map(|first| code_in(&first).flatten()));
            }
            b"writeConcernError" => refused = refused.or(Some(code_in(&element).flatten())),
            _ => {}
        }
    }
    match (ok, refused) {
        (Some(false), _) => error(code),
        (_, Some(code)) => error(code),
        (Some(true), None) => Status::OK,
        // It stands after the cursor's documents, which there are none of if the command failed.
        (None, None) if cursor => Status::OK,
        (None, None) => Status::UNSEEN,
    }
}

/// An error, by its number (`error_codes.yml` of the server): whose fault it is.
pub(super) fn error(code: Option<i64>) -> Status {
    let Some(code) = code.and_then(|code| u32::try_from(code).ok()) else {
        return Status { outcome: Outcome::ServerError, code: Code::None };
    };
    let outcome = match code {
        // Internal, unreachable, locks, time limits, majorities, shutdown, conflicts, memory, disk.
        1 | 6 | 7 | 24 | 46 | 50 | 64 | 89 | 91 | 100 | 112 | 133 | 134 | 146 | 189 | 202 | 262 | 9001 | 14031 => {
            Outcome::ServerError
        }
        // No primary, or no longer one; interrupted by that; sharding that is out of date.
        63 | 150 | 10058 | 10107 | 11600 | 11602 | 13388 | 13435 | 13436 => Outcome::ServerError,
        _ => Outcome::ClientError,
    };
    Status { outcome, code: Code::Number(code) }
}

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn commands_are_in_order() {
        assert!(COMMANDS.is_sorted_by(|(one, _), (next, _)| one < next));
    }
}
