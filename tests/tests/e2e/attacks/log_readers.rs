//! Whoever reads the log goes away or stalls. The attacker is the reader, or whoever makes the host log more than is read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use masque_tests::{Setup, eventually};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

/// Starts the host with the named pipe `log` as its standard error.
const LOG_INTO_PIPE: [&str; 4] = ["sh", "-c", "exec \"$@\" 2> log", "sh"];

const VERBOSE: &str = "[log]\nlevel = \"debug\"\n";

fn make_pipe(folder: &Path) -> PathBuf {
    let path = folder.join("log");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

/// Opens both ends, so that nobody waits for the other one.
fn open_both_ends(pipe: &Path) -> File {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(pipe).unwrap()
}

/// Opens the reading end without waiting for a writer.
fn open_reader(pipe: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(pipe).unwrap()
}

/// Reads what is there.
fn read_available(mut pipe: &File) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn turns_are_answered_after_the_reader_of_the_log_went_away() {
    let setup = Setup::file(VERBOSE);
    let pipe = make_pipe(setup.folder());
    let reader = open_reader(&pipe);
    let mut host = setup.launched_by(&LOG_INTO_PIPE).start().await;
    let client = host.client();
    client.say("The log is read.").await;

    drop(reader);
    for _ in 0..3 {
        client.say("Nobody reads the log.").await;
    }
    assert!(host.is_running());

    // The next reader finds whole lines again, those of the time between among them.
    let reader = open_reader(&pipe);
    let mut text = String::new();
    eventually("the log to be written again", || {
        text.push_str(&read_available(&reader));
        let found = text.contains('\n').then_some(());
        async move { found }
    })
    .await;
    client.say("The log is read again.").await;
}

#[tokio::test]
async fn turns_are_answered_and_the_host_stops_while_the_reader_of_the_log_stalls() {
    let setup = Setup::file(VERBOSE);
    let pipe = make_pipe(setup.folder());
    let mut stalled = open_both_ends(&pipe);
    // The pipe is full before the first line.
    while stalled.write(&[b'x'; 4096]).is_ok() {}
    while stalled.write(b"x").is_ok() {}
    let mut host = setup.launched_by(&LOG_INTO_PIPE).start().await;
    let client = host.client();

    for _ in 0..3 {
        client.say("The log stalls.").await;
    }

    // With space in the pipe, the waiting lines are written.
    let mut text = String::new();
    eventually("the log to go on", || {
        text.push_str(&read_available(&stalled));
        let found = text.contains("listening on").then_some(());
        async move { found }
    })
    .await;

    while stalled.write(&[b'x'; 4096]).is_ok() {}
    while stalled.write(b"x").is_ok() {}
    host.terminate();
    assert!(host.ended().await.success());
}
