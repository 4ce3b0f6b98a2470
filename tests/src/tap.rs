//! Reads on the wire what clients ask of PostgreSQL and Redis, for tests that count it. It understands what the host's clients
//! send, without TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The code with which a client of PostgreSQL asks for TLS, before it introduces itself.
const TLS_REQUEST: u32 = 80_877_103;

/// Notes what clients ask a server for, over all connections of a [`Link`](crate::Link).
pub struct Tap {
    protocol: Protocol,
    state: Mutex<State>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To prepare this statement.
    Prepare(String),
    /// To run this statement; or, of Redis, this command, with the first key of a script.
    Run(String),
    /// Whether the server is there.
    Ping,
}

#[derive(Clone, Copy)]
enum Protocol {
    Postgres,
    Redis,
}

#[derive(Default)]
struct State {
    connections: HashMap<usize, Connection>,
    asked: Vec<Asked>,
}

/// What is known of one connection.
#[derive(Default)]
struct Connection {
    /// The beginning of a message that is not complete yet.
    unread: Vec<u8>,
    has_begun: bool,
    /// Prepared statements by their names.
    statements: HashMap<String, String>,
    /// Whether something was asked for since the server was last told to answer.
    has_asked: bool,
}

impl Tap {
    /// For a link to PostgreSQL.
    pub fn postgres() -> Arc<Self> {
        Arc::new(Self { protocol: Protocol::Postgres, state: Mutex::default() })
    }

    /// For a link to Redis.
    pub fn redis() -> Arc<Self> {
        Arc::new(Self { protocol: Protocol::Redis, state: Mutex::default() })
    }

    /// What was asked for since this was last called, in order.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Reads what a client has sent.
    pub(crate) fn read(&self, connection: usize, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let State { connections, asked } = &mut *state;
        let connection = connections.entry(connection).or_default();
        connection.unread.extend_from_slice(bytes);
        let next = match self.protocol {
            Protocol::Postgres => Connection::next_of_postgres,
            Protocol::Redis => Connection::next_of_redis,
        };
        while let Some(message) = next(connection) {
            asked.extend(message);
        }
    }
}

impl Connection {
    /// Takes the next message of PostgreSQL's protocol, and returns what it asks for. `None` if it is not complete yet.
    fn next_of_postgres(&mut self) -> Option<Option<Asked>> {
        // The first messages have no kind.
        let head = usize::from(self.has_begun);
        let length = u32::from_be_bytes(self.unread.get(head..head + 4)?.try_into().unwrap());
        let end = head + usize::try_from(length).unwrap();
        if self.unread.len() < end {
            return None;
        }
        let message: Vec<u8> = self.unread.drain(..end).collect();
        let body = &message[head + 4..];
        if !self.has_begun {
            self.has_begun = body[..4] != TLS_REQUEST.to_be_bytes();
            return Some(None);
        }
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        let asked = match message[0] {
            b'P' => {
                self.statements.insert(first, second.clone());
                Some(Asked::Prepare(second))
            }
            b'B' => Some(Asked::Run(self.statements.get(&second).cloned().unwrap_or_default())),
            b'Q' => Some(Asked::Run(first)),
            // The server is told to answer.
            b'S' if self.has_asked => {
                self.has_asked = false;
                None
            }
            b'S' => Some(Asked::Ping),
            _ => None,
        };
        self.has_asked |= matches!(asked, Some(Asked::Prepare(_) | Asked::Run(_)));
        Some(asked)
    }

    /// Takes the next command of Redis' protocol, and returns what it asks for. `None` if it is not complete yet.
    fn next_of_redis(&mut self) -> Option<Option<Asked>> {
        let mut rest = self.unread.as_slice();
        let words = number_after(&mut rest, b'*')?;
        let words: Vec<String> = (0..words).map(|_| word(&mut rest)).collect::<Option<_>>()?;
        let read = self.unread.len() - rest.len();
        self.unread.drain(..read);
        let asked = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["PING", ..] => Asked::Ping,
            [name @ ("EVALSHA" | "EVAL"), _, _, key, ..] => Asked::Run(format!("{name} {key}")),
            [name, ..] => Asked::Run(name.to_owned()),
            [] => return Some(None),
        };
        Some(Some(asked))
    }
}

/// Reads a line that is this mark and a number.
fn number_after(rest: &mut &[u8], mark: u8) -> Option<usize> {
    let all = *rest;
    let end = all.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(all[0], mark, "no command of Redis: {:?}", String::from_utf8_lossy(all));
    *rest = &all[end + 2..];
    Some(std::str::from_utf8(&all[1..end]).unwrap().parse().unwrap())
}

/// Reads a word, which has its length before it.
fn word(rest: &mut &[u8]) -> Option<String> {
    let length = number_after(rest, b'$')?;
    let all = *rest;
    let word = all.get(..length)?;
    *rest = all.get(length + 2..)?;
    Some(String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes()[..], body].concat()
    }

    /// What is read of these bytes, sent at once and byte by byte.
    fn read(make: fn() -> Arc<Tap>, bytes: &[u8]) -> Vec<Asked> {
        let (at_once, in_pieces) = (make(), make());
        at_once.read(1, bytes);
        for byte in bytes {
            in_pieces.read(1, &[*byte]);
        }
        let asked = at_once.take();
        assert_eq!(asked, in_pieces.take());
        assert!(at_once.take().is_empty());
        asked
    }

    #[test]
    fn statements_are_known_by_the_name_under_which_they_were_prepared() {
        let begin =
            [&[0, 0, 0, 8][..], &TLS_REQUEST.to_be_bytes()[..], &[0, 0, 0, 9, 0, 3, 0, 0, 0]].concat();
        let sent = [
            begin,
            message(b'P', b"s1\0SELECT 1\0\0\0"),
            message(b'S', b""),
            message(b'B', b"\0s1\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
            message(b'S', b""),
        ]
        .concat();
        let select = || "SELECT 1".to_owned();
        assert_eq!(read(Tap::postgres, &sent), [Asked::Prepare(select()), Asked::Run(select()), Asked::Ping]);
    }

    #[test]
    fn scripts_are_known_by_their_first_key() {
        let sent =
            b"*5\r\n$7\r\nEVALSHA\r\n$2\r\nab\r\n$1\r\n1\r\n$3\r\nk:r\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(read(Tap::redis, sent), [Asked::Run("EVALSHA k:r".to_owned()), Asked::Ping]);
    }
}
