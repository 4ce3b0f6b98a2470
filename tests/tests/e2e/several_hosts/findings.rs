//! Compares what users were told with what is stored: nothing acknowledged is lost, nothing is there twice, and nobody is
//! given anything of others.

use std::collections::BTreeMap;

use masque_tests::{Client, Reply, eventually};

use super::user::User;

/// What all users of a load were told.
pub(super) struct Told {
    pub(super) spoken: Vec<Spoken>,
    /// What was of others in their answers.
    pub(super) foreign: Vec<String>,
}

/// What one user said in its conversation and was answered.
pub(super) struct Spoken {
    pub(super) user: User,
    pub(super) conversation: String,
    /// The last turn.
    pub(super) turn: String,
    pub(super) acknowledged: Vec<String>,
}

/// What is wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Messages or replies that were acknowledged and are not there.
    pub(super) lost: Vec<String>,
    /// Messages or replies that are there more than once.
    pub(super) doubled: Vec<String>,
    /// What users were given, or could reach, of others.
    pub(super) foreign: Vec<String>,
}

impl Told {
    /// Reads as each user what it has, and asks for what another one has.
    pub(super) async fn compare(&self, client: &Client) -> Findings {
        let mut findings = Findings { foreign: self.foreign.clone(), ..Findings::default() };
        for (index, spoken) in self.spoken.iter().enumerate() {
            let client = spoken.user.of(client);
            findings.add(spoken, &all_messages(&client, &spoken.conversation).await);
            let own = [
                "/conversations?limit=100".to_owned(),
                "/users/me/data".to_owned(),
                format!("/turns/{}", spoken.turn),
            ];
            for path in own {
                let read = read(&client, &path).await;
                findings.foreign.extend(spoken.user.foreign_in(&read.text));
            }
            let others = self.spoken.iter().cycle().skip(index + 1);
            for other in others.take(self.spoken.len().min(2) - 1) {
                for path in [
                    format!("/conversations/{}/messages", other.conversation),
                    format!("/turns/{}", other.turn),
                    format!("/turns/{}/events", other.turn),
                ] {
                    let read = read(&client, &path).await;
                    findings.foreign.extend(spoken.user.foreign_in(&read.text));
                    if read.status != 404 {
                        findings.foreign.push(format!("{path} was answered with {}", read.status));
                    }
                }
            }
        }
        findings
    }
}

impl Findings {
    fn add(&mut self, spoken: &Spoken, stored: &[String]) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for text in stored {
            *counts.entry(text).or_default() += 1;
            self.foreign.extend(spoken.user.foreign_in(text));
        }
        for said in &spoken.acknowledged {
            for text in [said.clone(), format!("You said: {said}")] {
                match counts.get(text.as_str()) {
                    None => self.lost.push(text),
                    Some(1) => {}
                    Some(_) => self.doubled.push(text),
                }
            }
        }
    }
}

/// Reads until the host can, whatever it answers then: its first connections to a database that was away may be broken.
pub(super) async fn read(client: &Client, path: &str) -> Reply {
    eventually("a host that can read", || async {
        let reply = client.get(path).send().await;
        (reply.status != 503).then_some(reply)
    })
    .await
}

/// The texts of all messages; none if there is no such conversation.
async fn all_messages(client: &Client, conversation: &str) -> Vec<String> {
    let base = format!("/conversations/{conversation}/messages?limit=100");
    let (mut messages, mut path) = (Vec::new(), base.clone());
    loop {
        let page = read(client, &path).await;
        if page.status == 404 {
            return messages;
        }
        let page = page.expect(200);
        let items = page["items"].as_array().unwrap().iter();
        messages.extend(items.map(|message| message["content"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { return messages };
        path = format!("{base}&after={next}");
    }
}

#[test]
fn the_checker_finds_what_is_lost_doubled_or_of_others() {
    let (user, other) = (User::new(1), User::new(12));
    let said = [user.message(0), user.message(1)];
    let stored = [
        said[0].clone(),
        format!("You said: {}", said[0]),
        said[1].clone(),
        format!("You said: {}", said[1]),
    ];
    let spoken =
        Spoken { user, conversation: String::new(), turn: String::new(), acknowledged: said.to_vec() };
    let findings = |stored: &[String]| {
        let mut findings = Findings::default();
        findings.add(&spoken, stored);
        findings
    };
    assert_eq!(findings(&stored), Findings::default());
    assert_eq!(findings(&stored[1..]).lost, [said[0].clone()]);
    assert_eq!(findings(&[&stored[..], &stored[3..]].concat()).doubled, [stored[3].clone()]);
    let foreign = findings(&[&stored[..], &[other.message(0)]].concat()).foreign;
    assert_eq!(foreign, [other.secret()]);
}
