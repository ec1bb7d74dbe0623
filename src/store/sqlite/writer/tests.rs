//! The writer: who fails, who does not, and with which connection it goes on.

use super::super::create_private;
use super::*;

fn writer(folder: &tempfile::TempDir) -> Writer {
    let path = folder.path().join("test.db");
    create_private(&path).unwrap();
    let mut connection = open_writer(&path).unwrap();
    crate::store::schema::migrate(&mut connection, &path).unwrap();
    connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT").unwrap();
    let mark = Some(Mark::open(&connection, &path).unwrap());
    let care = Care {
        log_is_long: LogIsLong::default(),
        condition: Condition::default(),
        mark,
        commits: Counts::default(),
    };
    Writer::start(connection, path, care).unwrap()
}

fn insert(n: i64) -> impl FnMut(&Connection) -> Result<i64, StoreError> + Send + 'static {
    move |connection| {
        connection.execute("INSERT INTO t VALUES (?1)", [n])?;
        Ok(n)
    }
}

fn count(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("SELECT count(*) FROM t", (), |row| row.get(0))?)
}

/// Keeps the thread busy with a batch of its own until the returned sender is used or dropped,
/// so that what is queued meanwhile shares the next batch.
fn hold(writer: &Writer) -> std::sync::mpsc::Sender<()> {
    let (started, running) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    writer
        .submit_detached(move |_| {
            started.send(()).unwrap();
            let _ = wait.recv();
            Ok(())
        })
        .unwrap();
    running.recv().unwrap();
    go
}

#[test]
fn an_operation_that_fails_is_undone_alone() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(&folder);
    let go = hold(&writer);
    let good = writer.submit(Rank::Urgent, insert(1), |_| ()).unwrap();
    let twice = writer
        .submit(
            Rank::Urgent,
            |connection| insert(7)(connection).and_then(|_| insert(1)(connection)),
            |_| (),
        )
        .unwrap();
    let other = writer.submit(Rank::Urgent, insert(2), |_| ()).unwrap();
    drop(go);
    assert_eq!(good.blocking_recv().unwrap().unwrap(), 1);
    assert!(matches!(twice.blocking_recv().unwrap(), Err(StoreError::Conflict)));
    assert_eq!(other.blocking_recv().unwrap().unwrap(), 2);
    let rows =
        writer.submit(Rank::Urgent, count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!(rows, 2);
}

#[test]
fn a_batch_ends_after_a_while_and_what_is_urgent_goes_before_the_news_that_wait() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Arc::new(writer(&folder));
    let go = hold(&writer);
    let (tell, told) = std::sync::mpsc::channel();
    for n in 0..20 {
        let (queue, tell) = (Arc::clone(&writer), tell.clone());
        let slow = move |_: &Connection| {
            tell.send("news").unwrap();
            if n == 0 {
                let tell = tell.clone();
                let urgent =
                    move |_: &Connection| tell.send("urgent").map_err(StoreError::unexpected);
                queue.submit_detached(urgent)?;
            }
            let (_open, never) = std::sync::mpsc::channel::<()>();
            let _ = never.recv_timeout(BATCH_TIME);
            Ok(())
        };
        drop(writer.queue.push(Rank::News, Box::new(Detached { run: slow, result: Ok(()) })));
    }
    drop((go, tell));
    let order: Vec<_> = told.into_iter().collect();
    assert_eq!(order.len(), 21);
    assert_eq!(order[..3], ["news", "urgent", "news"]);
}

#[test]
fn what_was_done_is_committed_while_the_rest_still_waits() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(&folder);
    let go = hold(&writer);
    let (tell, told) = std::sync::mpsc::channel();
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let (begins, commits) = (tell.clone(), tell.clone());
        let slow = move |_: &Connection| {
            begins.send("begun").unwrap();
            let (_open, never) = std::sync::mpsc::channel::<()>();
            let _ = never.recv_timeout(BATCH_TIME);
            Ok(())
        };
        let committed = move |(): &()| commits.send("committed").unwrap();
        waiting.push(writer.submit(Rank::Urgent, slow, committed).unwrap());
    }
    drop((go, tell));
    let order: Vec<_> = told.into_iter().collect();
    let each = ["begun", "committed"].into_iter().cycle().take(20);
    assert_eq!(order, each.collect::<Vec<_>>());
}

#[test]
fn an_operation_that_panics_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(&folder);
    let go = hold(&writer);
    let good = writer.submit(Rank::Urgent, insert(1), |_| ()).unwrap();
    let bad = writer
        .submit(Rank::Urgent, |_| -> Result<(), _> { panic!("on purpose") }, |()| ())
        .unwrap();
    drop(go);
    assert_eq!(good.blocking_recv().unwrap().unwrap(), 1);
    assert!(bad.blocking_recv().is_err());
    let rows =
        writer.submit(Rank::Urgent, count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_panic_after_the_commit_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(&folder);
    let go = hold(&writer);
    let bad = writer.submit(Rank::Urgent, insert(1), |_| panic!("on purpose")).unwrap();
    let good = writer.submit(Rank::Urgent, insert(2), |_| ()).unwrap();
    drop(go);
    assert_eq!(bad.blocking_recv().unwrap().unwrap(), 1);
    assert_eq!(good.blocking_recv().unwrap().unwrap(), 2);
}

/// Lets the writer fail once, and gives how many rows it sees after that: the table has one,
/// and a temporary one of the same name, which only the first connection has, is empty.
fn rows_seen_after(
    folder: &tempfile::TempDir,
    fail: impl FnOnce(&Writer, Connection),
) -> Result<i64, StoreError> {
    let writer = writer(folder);
    let answer =
        |received: oneshot::Receiver<Result<i64, StoreError>>| received.blocking_recv().unwrap();
    answer(writer.submit(Rank::Urgent, insert(1), |_| ()).unwrap()).unwrap();
    let hide = |connection: &Connection| {
        connection.execute_batch("CREATE TEMP TABLE t (n INTEGER) STRICT")?;
        Ok(0)
    };
    answer(writer.submit(Rank::Urgent, hide, |_| ()).unwrap()).unwrap();
    fail(&writer, open_writer(&folder.path().join("test.db")).unwrap());
    answer(writer.submit(Rank::Urgent, count, |_| ()).unwrap())
}

#[test]
fn the_connection_survives_another_process_that_writes_for_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows_seen_after(&folder, |writer, other| {
        let impatient = |connection: &Connection| {
            connection.busy_timeout(Duration::ZERO)?;
            Ok(())
        };
        writer.submit(Rank::Urgent, impatient, |()| ()).unwrap().blocking_recv().unwrap().unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let busy = writer.submit(Rank::Urgent, insert(2), |_| ()).unwrap().blocking_recv().unwrap();
        assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
    });
    assert_eq!(rows.unwrap(), 0);
}

#[test]
fn after_another_failure_it_is_reopened_and_a_missing_file_is_not_made() {
    let undo = |writer: &Writer| {
        let undone = |connection: &Connection| Ok(connection.execute_batch("ROLLBACK; bogus")?);
        writer.submit(Rank::Urgent, undone, |()| ()).unwrap().blocking_recv().unwrap().unwrap_err();
    };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(rows_seen_after(&folder, |writer, _| undo(writer)).unwrap(), 1);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let _ = rows_seen_after(&folder, |writer, _| {
        std::fs::rename(&path, folder.path().join("moved.db")).unwrap();
        undo(writer);
    });
    assert!(!path.exists());
}

#[test]
fn when_sqlite_undoes_the_batch_nobody_in_it_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(&folder);
    let go = hold(&writer);
    let good = writer.submit(Rank::Urgent, insert(1), |_| ()).unwrap();
    let bad = writer
        .submit(
            Rank::Urgent,
            |connection| Ok(connection.execute_batch("ROLLBACK; bogus")?),
            |()| (),
        )
        .unwrap();
    drop(go);
    assert!(good.blocking_recv().unwrap().is_err());
    assert!(bad.blocking_recv().unwrap().is_err());
    let rows =
        writer.submit(Rank::Urgent, count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn an_operation_that_nobody_waits_for_is_skipped_unless_it_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(&folder);
    let go = hold(&writer);
    drop(writer.submit(Rank::Urgent, insert(1), |_| ()).unwrap());
    drop(go);

    let (started, running) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let receiver = writer
        .submit(
            Rank::Urgent,
            move |connection| {
                started.send(()).unwrap();
                wait.recv().unwrap();
                insert(2)(connection)
            },
            move |n: &i64| tell.send(*n).unwrap(),
        )
        .unwrap();
    running.recv().unwrap();
    drop(receiver);
    go.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), 2);
    let rows =
        writer.submit(Rank::Urgent, count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!(rows, 1);
}
