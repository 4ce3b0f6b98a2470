//! A user of a load: who it is, what it says, and what it must never be given.

use std::collections::BTreeSet;

use masque_tests::{Client, MockModel, claims, token};

/// What every secret begins with. An id in hexadecimal digits follows.
const SECRET: &str = "secret-";

/// A user who has a secret that is in all of its messages, and so in all replies to it.
#[derive(Clone, Debug)]
pub(super) struct User {
    number: usize,
    subject: String,
    secret: String,
}

impl User {
    /// A new user. Users of one test have different numbers.
    pub(super) fn new(number: usize) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        Self { number, subject: format!("user-{number}-{id}"), secret: format!("{SECRET}{id}") }
    }

    /// A client with a token of this user.
    pub(super) fn of(&self, client: &Client) -> Client {
        client.bearer(&token(&claims(&self.subject)))
    }

    /// What this user says next.
    pub(super) fn message(&self, number: usize) -> String {
        format!("Client {}, message {number}, {}.", self.number, self.secret)
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// The secrets of others in what this user was given.
    pub(super) fn foreign_in(&self, text: &str) -> Vec<String> {
        // A secret may be cut off, as in the title of a conversation.
        secrets(text).into_iter().filter(|found| !self.secret.starts_with(found)).map(str::to_owned).collect()
    }
}

/// The secrets in a text, each once.
fn secrets(text: &str) -> BTreeSet<&str> {
    let end = |rest: &str| rest.find(|character: char| !character.is_ascii_hexdigit()).unwrap_or(rest.len());
    let found = text.match_indices(SECRET).map(|(at, _)| {
        let first = at + SECRET.len();
        &text[at..first + end(&text[first..])]
    });
    found.collect()
}

/// What the model was asked with the secrets of several users.
pub(super) fn mixed_prompts(model: &MockModel) -> Vec<String> {
    let asked = model.seen().into_iter().map(|request| request.body.to_string());
    asked.filter(|prompt| secrets(prompt).len() > 1).collect()
}

#[test]
fn secrets_of_others_are_found_and_own_ones_are_not() {
    let (one, other) = (User::new(1), User::new(2));
    let text = format!("data: {{\"text\":\"You said: {}\"}}\n\n", one.message(7));
    assert_eq!(one.foreign_in(&text), Vec::<String>::new());
    assert_eq!(other.foreign_in(&text), [one.secret()]);
    assert_eq!(one.foreign_in(&format!("{text}{}", other.message(0))), [other.secret()]);
    let cut = &one.secret()[..one.secret().len() - 3];
    assert_eq!(one.foreign_in(&format!("{cut}…")), Vec::<String>::new());
}
