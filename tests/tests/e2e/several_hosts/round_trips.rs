//! How often a turn waits for the servers that hosts share.
//!
//! Two measurements complete each other. What a host asks for is read on the wire, which shows all of it, also what nobody
//! waits for. And every round trip to one of the servers is made long: the time of a turn then tells how many of them it waits
//! for one after the other, whatever they are.
#![allow(clippy::print_stdout, reason = "what was counted is shown with `--nocapture`")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_tests::{Answer, Asked, Client, Host, Link, LinkState, Tap};
use serde_json::json;

use super::installation::{Installation, Links};

/// How long a round trip over a slow link takes at least, and at most. A host gives up renewing its leases after 3 s.
const ROUND_TRIP: Duration = Duration::from_millis(300);
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(2);

/// The turns of each kind that are counted on the wire.
const TURNS: usize = 20;

/// Slow round trips to Redis are no failures. The line about the store's time is written.
const SETTINGS: &str = "[redis]\ntimeout = \"5s\"\n[log]\nlevel = \"info,masque_turns::store=debug\"\n";

/// One host whose memory is the conversation, with limits of the address, the user and the key, and a budget of the key.
struct OneHost {
    installation: Installation,
    host: Host,
    client: Client,
    database: Arc<Tap>,
    redis: Arc<Tap>,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    First,
    FollowUp,
    Streamed,
    WithKey,
}

impl Turn {
    const ALL: [Self; 4] = [Self::First, Self::FollowUp, Self::Streamed, Self::WithKey];
}

impl OneHost {
    async fn start() -> Self {
        let (database, redis) = (Tap::postgres(), Tap::redis());
        let installation = Installation::with_taps(&database, &redis).await;
        let setup = installation.setup().with_authentication().and(SETTINGS);
        let limits = ["--requests-per-minute", "1000000", "--tokens-per-day", "1000000000"];
        let key = setup.create_key(&[&["--scope", "chat"][..], &limits].concat()).await;
        let host = setup.start().await;
        let client = host.client().bearer(&key);
        let one = Self { installation, host, client, database, redis };
        // Prepares the statements on all connections that are open.
        for turn in Turn::ALL {
            one.make_several(turn, &one.begin().await).await;
        }
        one
    }

    fn links(&self) -> &Links {
        self.installation.links.as_ref().unwrap()
    }

    /// A conversation that is so short that its memory needs no page of older messages.
    async fn begin(&self) -> String {
        self.client.say("Hello.").await["conversation_id"].as_str().unwrap().to_owned()
    }

    async fn make(&self, turn: Turn, conversation: &str) {
        match turn {
            Turn::First => drop(self.client.say("Hello.").await),
            Turn::FollowUp => drop(self.client.say_in(conversation, "How are you?").await),
            Turn::Streamed => {
                let reply = ["word"; 40].join(" ");
                self.installation.model.next(Answer::says(&reply));
                let transcript = self.client.stream("Tell me.").await.transcript().await;
                assert_eq!(transcript.completed()["reply"]["content"], reply);
            }
            Turn::WithKey => {
                let key = uuid::Uuid::now_v7().to_string();
                let asked = self.client.chat(&json!({ "message": "Hello." })).key(&key);
                asked.send().await.expect(200);
            }
        }
    }

    async fn make_several(&self, turn: Turn, conversation: &str) {
        for _ in 0..TURNS {
            self.make(turn, conversation).await;
        }
    }

    /// Waits until the host asks for nothing, but not forever: what follows a turn is done by then.
    async fn quiet(&self) {
        const QUIET: Duration = Duration::from_millis(200);
        for _ in 0..5 {
            tokio::time::sleep(QUIET).await;
            let asked = [self.database.take(), self.redis.take()].concat();
            if asked.is_empty() {
                return;
            }
        }
    }

    /// The time of a round trip that is long beside everything else that such a turn takes on this machine.
    async fn long_round_trip(&self, turn: Turn) -> Duration {
        let mut longest = Duration::ZERO;
        for _ in 0..3 {
            let conversation = self.begin().await;
            let begun = Instant::now();
            self.make(turn, &conversation).await;
            longest = longest.max(begun.elapsed());
        }
        (4 * longest).clamp(ROUND_TRIP, LONGEST_ROUND_TRIP)
    }

    /// How many round trips of this link such a turn waits for. Other work of the host can only add to what is measured, so
    /// the fewest of several turns count. Turns for which a statement was prepared don't.
    async fn waits(&self, turn: Turn, link: &Link, tap: &Tap) -> u128 {
        let round_trip = self.long_round_trip(turn).await;
        let mut counted = Vec::new();
        for _ in 0..20 {
            let conversation = self.begin().await;
            self.quiet().await;
            link.set(LinkState::Slow(round_trip / 2));
            let begun = Instant::now();
            self.make(turn, &conversation).await;
            let took = begun.elapsed();
            link.set(LinkState::Open);
            if tap.take().iter().all(|asked| matches!(asked, Asked::Run(_) | Asked::Ping)) {
                counted.push(took.as_millis() / round_trip.as_millis());
            }
            if counted.len() == 3 {
                break;
            }
        }
        counted.into_iter().min().expect("a turn on connections that are warm")
    }
}

/// How much of what was asked for has one of these words.
fn count(asked: &[Asked], word: &str) -> usize {
    asked.iter().filter(|asked| matches!(asked, Asked::Run(text) if text.contains(word))).count()
}

/// What was asked for without these words, each with how often.
fn others<'a>(asked: &'a [Asked], words: &[&str]) -> Vec<(usize, &'a Asked)> {
    let mut found: Vec<(usize, &Asked)> = Vec::new();
    for asked in asked {
        if matches!(asked, Asked::Run(text) if words.iter().any(|word| text.contains(word))) {
            continue;
        }
        match found.iter_mut().find(|(_, known)| *known == asked) {
            Some((times, _)) => *times += 1,
            None => found.push((1, asked)),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_waits_for_two_round_trips_to_postgresql_and_one_to_redis() {
    let one = OneHost::start().await;
    for turn in Turn::ALL {
        let database = one.waits(turn, &one.links().database, &one.database).await;
        let redis = one.waits(turn, &one.links().redis, &one.redis).await;
        println!("{turn:?}: waits for {database} round trips to PostgreSQL and {redis} to Redis");
        // Fewer than its admission and its end would mean that a turn was acknowledged which is not on disk.
        assert_eq!(database, 2, "{turn:?}");
        // The limits are asked before anything else happens.
        assert_eq!(redis, 1, "{turn:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_turn_waits_for_is_sent_in_batches() {
    const OF_A_TURN: [&str; 2] = ["masque_admit_v", "masque_end_v"];
    let one = OneHost::start().await;
    for turn in Turn::ALL {
        let conversation = one.begin().await;
        one.quiet().await;
        let begun = Instant::now();
        one.make_several(turn, &conversation).await;
        let took = begun.elapsed();
        let database = one.database.take();
        // The last events of a turn are sent when its client has them.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let redis = one.redis.take();

        for function in OF_A_TURN {
            assert_eq!(count(&database, function), TURNS, "{turn:?}: {function} in {database:#?}");
        }
        let besides = others(&database, &OF_A_TURN);
        // The pool tries each connection when it is given back, after the statement was answered.
        let (tried, besides): (Vec<_>, Vec<_>) =
            besides.into_iter().partition(|(_, asked)| matches!(asked, Asked::Ping));
        let tried: usize = tried.iter().map(|(times, _)| times).sum();
        // Records of turns are gathered for a moment, so a busy host writes many at once.
        let is_of_records =
            |asked: &Asked| matches!(asked, Asked::Run(text) if text.contains("masque_store_records_v"));
        let (records, besides): (Vec<_>, Vec<_>) =
            besides.into_iter().partition(|(_, asked)| is_of_records(asked));
        let records: usize = records.iter().map(|(times, _)| times).sum();
        assert!(records <= TURNS, "{turn:?}: {records} statements for records of turns");
        let statements: usize = besides.iter().map(|(times, _)| times).sum();
        assert!(tried <= 2 * TURNS + records + statements, "{turn:?}: {tried} trials of connections");
        let [rates, slots, events] = [":rates}", ":slots:", ":events:"].map(|key| count(&redis, key));
        println!(
            "{TURNS} turns, {turn:?}, in {took:?}: {statements} statements that no turn waits for; of Redis {rates} for \
             rates, {slots} for places, {events} for events, and {:?}",
            others(&redis, &[":rates}", ":slots:", ":events:"])
        );
        // Eight tasks of the host ask every second or less often, all in the same moment at times; none asks for each turn.
        let begun_seconds = 1 + usize::try_from(took.as_secs()).unwrap();
        let is_rare = |(times, _): &(usize, &Asked)| *times <= TURNS / 2 * begun_seconds;
        assert!(besides.iter().all(is_rare), "{turn:?}: {besides:#?}");
        // All limits of a request are one command. A place is taken and given back, and a task renews those that are held at
        // that moment, less often than once a second.
        assert!(rates <= TURNS, "{turn:?}: {redis:#?}");
        assert!(slots <= 2 * TURNS + begun_seconds, "{turn:?}: {redis:#?}");
        // The first and the last batch of a turn, and one every 50 ms between them. A reply has 40 tokens.
        let batches = 2 * TURNS + usize::try_from(took.as_millis()).unwrap() / 50;
        assert!(events <= batches, "{turn:?}: {events} batches of events");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_how_long_a_turn_waited_for_the_store() {
    let one = OneHost::start().await;
    one.links().database.set(LinkState::Slow(ROUND_TRIP / 2));
    let begun = Instant::now();
    one.make(Turn::First, "").await;
    let took = begun.elapsed();
    one.links().database.set(LinkState::Open);
    // The line was written before the client had its answer, and reaches this test a moment later. On a busy machine, another
    // turn may have waited for longer.
    let expected = 2 * ROUND_TRIP..=took;
    masque_tests::eventually(&format!("a time in {expected:?} in the log"), || async {
        let log = one.host.log();
        let lines = log.lines().filter_map(|line| line.split_once("store_ms=")?.1.split_whitespace().next());
        let mut times = lines.map(|time| Duration::from_secs_f64(time.parse::<f64>().unwrap() / 1000.0));
        times.find(|time| expected.contains(time))
    })
    .await;
}
