//! Messages that are planted, and searched for in everything that a host writes: they are only where messages are kept, until
//! the user is erased.

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_telemetry::testing::Collector;
use masque_tests::{
    Answer, Client, Host, MockModel, Planted, Setup, Step, assert_in_none, claims, eventually, token,
};
use serde_json::{Value, json};

use super::planted_host::{PlantedHost, Secrets, configuration, exporting_to};
use super::written::{Places, explanations, files, outputs, rows, turns_of};

/// What a user says, and what the model does.
struct Messages {
    said: Planted,
    replied: Planted,
    /// In the model's answers that are no reply.
    garbled: Planted,
}

impl Messages {
    fn random() -> Self {
        Self {
            said: Planted::phrase("what the user said", "hidden behind"),
            replied: Planted::phrase("what the model said", "looked after"),
            garbled: Planted::phrase("what the model said wrongly", "lost between"),
        }
    }

    fn all(&self) -> Vec<Planted> {
        [&self.said, &self.replied, &self.garbled].map(Planted::clone).to_vec()
    }
}

/// Says the text in turns that complete, and in turns that fail in each way that brings it near the log.
async fn say(user: &Client, model: &MockModel, messages: &Messages) {
    let message = format!("Where is it?\n\"It is {}.\"", messages.said.text());
    let chat = async |companion: &str| {
        let body = json!({ "message": message, "companion": companion });
        user.chat(&body).key(&uuid::Uuid::now_v7().to_string()).send().await
    };
    let (replied, garbled) = (messages.replied.text(), messages.garbled.text());
    for companion in ["elara", "listening"] {
        model.next(Answer::says(&format!("So it is {replied}.")));
        chat(companion).await.expect(200);
    }
    let streamed = json!({ "message": message, "companion": "elara", "stream": true });
    user.chat(&streamed).events().await.transcript().await.completed();

    let input =
        json!({ "detail": [{ "msg": "too long", "input": [{ "role": "user", "content": message }] }] });
    let frame = |data: &str| Answer::body(200, "text/event-stream", format!("data: {data}\n\n"));
    let failing = [
        Answer::error(400, "invalid_request_error", &format!("This can't be answered: {message}")),
        Answer::body(422, "application/json", input.to_string()),
        Answer::body(500, "text/plain", format!("no answer to {message}")),
        frame(&json!({ "error": { "message": format!("no slot for {message}") } }).to_string()),
        frame(&format!("{{\"choices\": [{{\"delta\": {{\"content\": {garbled}")),
        frame(&json!({ "response": garbled }).to_string()),
        Answer::body(200, "text/plain", garbled.to_owned()),
        Answer::steps(vec![
            Step::Text(format!("It is {replied}")),
            Step::Bytes("data: {\"error\": \"lost\"}\n\n"),
        ]),
        Answer::steps(vec![Step::Text(format!("It is {replied}")), Step::Cut]),
    ];
    for answer in failing {
        model.next(answer);
        let failed = chat("elara").await;
        assert!(failed.status >= 500, "{}", failed.text);
    }
    for companion in ["away", "denied", "picky"] {
        let failed = chat(companion).await;
        assert!(failed.status >= 500, "{companion}: {}", failed.text);
    }
}

/// A host whose messages are searched for.
struct Spoken<'a> {
    host: &'a Host,
    collector: &'a Collector,
    user: Client,
    /// Without one, the host has SQLite.
    database: Option<(&'a TestServer, &'a TestDatabase)>,
}

impl Spoken<'_> {
    /// What is kept of messages.
    fn kept(&self) -> Places {
        let mut places = files(self.host.data());
        if let Some((server, database)) = self.database {
            places.extend(rows(server, database));
        }
        places
    }

    async fn assert_kept_and_erased(&self, messages: &Messages) {
        let turns = turns_of(&self.user).await;
        assert!(turns.len() >= 10, "{turns:?}");
        let explained = explanations(self.host, &turns).await;
        let is_in = |planted: &Planted, places: &Places, part: &str| {
            places.iter().any(|(place, bytes)| place.contains(part) && planted.form_in(bytes).is_some())
        };
        let records = if self.database.is_some() { "turn_records" } else { "records.db" };
        eventually("the memory's job to end", || async {
            let mut jobs = self.kept().into_iter().filter(|(place, _)| place == "the table jobs");
            jobs.all(|(_, rows)| messages.said.form_in(&rows).is_none()).then_some(())
        })
        .await;
        let kept = self.kept();
        for planted in [&messages.said, &messages.replied] {
            assert!(is_in(planted, &explained, "/explain"), "{} is in no explanation", planted.name);
        }
        assert!(is_in(&messages.said, &explained, "masque explain"), "nothing is printed");
        assert!(is_in(&messages.said, &kept, records), "what was said is in no record");
        let audit: Places = kept.into_iter().filter(|(place, _)| place == "the table audit").collect();
        assert_in_none(&messages.all(), &audit);
        assert_in_none(&messages.all(), &outputs(self.host, self.collector).await);

        let accepted = self.user.delete("/users/me/data").send().await;
        accepted.expect(202);
        let receipt = accepted.header("location").unwrap().to_owned();
        eventually("the erasure to be done", || async {
            let receipt: Value = self.user.get(&receipt).send().await.expect(200);
            (receipt["state"] == "done").then_some(())
        })
        .await;
        let mut places = self.kept();
        places.extend(outputs(self.host, self.collector).await);
        for turn in &turns {
            let path = format!("/turns/{turn}/explain");
            let answer = self.host.socket().get(&path).send().await;
            answer.problem(404, "turn-not-found");
            places.push((path, answer.text.into_bytes()));
        }
        assert_in_none(&messages.all(), &places);
    }
}

#[tokio::test]
async fn the_text_of_a_message_is_in_records_and_explanations_alone_and_nowhere_once_erased() {
    let messages = Messages::random();
    let planted = PlantedHost::start(&Secrets::random()).await;
    let PlantedHost { host, model, collector, database, server, .. } = &planted;
    say(&planted.user(), model, &messages).await;
    let user = planted.user();
    let spoken = Spoken { host, collector, user, database: Some((server, database)) };
    spoken.assert_kept_and_erased(&messages).await;
}

#[tokio::test]
async fn with_sqlite_the_text_of_a_message_is_in_no_file_once_erased() {
    let messages = Messages::random();
    let (model, refusing) = (MockModel::start().await, MockModel::refusing());
    let collector = Collector::start().await.unwrap();
    let setup = Setup::file(&configuration(&model, &refusing, &Planted::random("a key")));
    let setup = setup.environment("JWT_SECRET_KEY", masque_tests::SECRET);
    let host = exporting_to(setup, &collector).start().await;
    let user = host.client().bearer(&token(&claims("ana")));
    say(&user, &model, &messages).await;
    let spoken = Spoken { host: &host, collector: &collector, user, database: None };
    spoken.assert_kept_and_erased(&messages).await;
}
