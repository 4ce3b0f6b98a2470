//! Measures how the host scales with plugins, messages and users.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::stream::{self, StreamExt, TryStreamExt};
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, MessageId, NewMessage, Owner, TailLimit, Target,
    TurnId, Turns, UsageRecord,
};
use masque_store_sqlite::SqliteStore;
use serde_json::json;
use uuid::Uuid;

use super::bench::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::plot::{Axis, Line, Plot};
use crate::process;
use crate::report::Table;
use crate::setup::{DATA, Mode, load, make_turn_in};
use crate::stats::{Rounds, show};

const PACE: Pace = Pace::at_once(40);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    Ok(vec![plugins(bench).await?, messages(bench).await?, users(bench).await?])
}

/// The plugins share one component, as the personas of several tenants do. Different components would measure the compiler.
async fn plugins(bench: &Bench) -> anyhow::Result<Table> {
    let (rounds, millis) = (bench.size(3, 1), bench.size(3000, 300));
    let mut table = Table::new(
        "Scaling with loaded plugins",
        &format!(
            "Additional personas of one component, each with its own settings, next to the three plugins of a turn. 4 clients, \
             40 tokens at once, streamed; {rounds} alternating rounds."
        ),
        &["additional plugins", "exec to ready, ms", "host, MB", "turns/s", "whole turn p99, ms"],
    );
    let counts: &[usize] = bench.size(&[0, 10, 100, 1000], &[0, 10]);
    let mut seen: Vec<_> = counts.iter().map(|&count| (count, Vec::new())).collect();
    for _ in 0..rounds {
        for (count, seen) in &mut seen {
            let mut start = bench.start(PACE, Mode::ON);
            for number in 0..*count {
                // Writing to a `String` never fails.
                let _ = write!(
                    start.extra,
                    "[plugins.p{number}]\nsource = \"builtin:card\"\nsettings = {{ card = {CARD} }}\n"
                );
            }
            let host = start.host().await?;
            let report = load(&Options { clients: 4, millis, ..host.clients(PACE, true) }).await?;
            seen.push([
                host.ready_after.as_secs_f64() * 1000.0,
                process::memory_bytes(host.pid)? / 1e6,
                report.per_second(),
                report.total.p99 as f64 / 1000.0,
            ]);
            host.stop().await?;
        }
    }
    for (count, seen) in seen {
        let of = |index: usize, digits| {
            show(seen.iter().filter_map(|figures| figures.get(index).copied()), digits)
        };
        table.row([count.to_string(), of(0, 0), of(1, 0), of(2, 0), of(3, 1)]);
    }
    Ok(table)
}

const CARD: &str = r#""{\"spec\": \"chara_card_v2\", \"spec_version\": \"2.0\", \"data\": {\"name\": \"P\", \"description\": \"\", \"personality\": \"\", \"scenario\": \"\", \"first_mes\": \"\", \"mes_example\": \"\"}}""#;

async fn messages(bench: &Bench) -> anyhow::Result<Table> {
    let host = bench.start(PACE, Mode::ON).host().await?;
    let most: u32 = bench.size(5000, 40);
    let mut table = Table::new(
        "Scaling with the length of a conversation",
        "One conversation, one turn after the other, not streamed; a turn adds two messages. The median of 100 turns.",
        &["messages before", "whole turn p50, ms"],
    );
    let (mut conversation, mut recent) = (None, Vec::new());
    let mut line = Line { name: "all features on".to_owned(), points: Vec::new() };
    let marks: &[u32] = bench.size(&[100, 500, 1000, 2500, 5000], &[20, 40]);
    for turn in 1..=most {
        let begun = Instant::now();
        let said =
            make_turn_in(&host.address, host.bearer.as_deref(), "elara", conversation.as_deref()).await?;
        recent.push(begun.elapsed().as_secs_f64() * 1000.0);
        conversation = Some(said);
        if recent.len() > 100 {
            recent.remove(0);
        }
        if marks.contains(&turn) {
            let median = Rounds::of(recent.iter().copied()).context("no turns")?.median;
            table.row([(2 * turn).to_string(), format!("{median:.2}")]);
            line.points.push((2.0 * f64::from(turn), median));
        }
    }
    host.stop().await?;
    table.plots.push(Plot {
        name: "conversation".to_owned(),
        title: "Latency by length of the conversation".to_owned(),
        x: Axis::linear("messages before"),
        y: Axis::linear("p50 of a whole turn, ms"),
        lines: vec![line],
    });
    Ok(table)
}

/// Each user has had a turn before, and each turn is made for the next user.
async fn users(bench: &Bench) -> anyhow::Result<Table> {
    let (rounds, millis) = (bench.size(5, 1), bench.size(3000, 300));
    let mut table = Table::new(
        "Scaling with the number of users",
        &format!(
            "Each user already has a conversation. Each turn is made for the next user, by an API key that acts for them, so \
             that the rate limits and rows of all users are in use. 8 clients, 40 tokens at once, streamed; {rounds} \
             alternating rounds."
        ),
        &["users", "turns/s", "whole turn p99, ms", "µs of the host per turn", "host, MB", "database, MB"],
    );
    let counts: &[u64] = bench.size(&[10, 1000, 100_000], &[10, 100]);
    let mut hosts = Vec::new();
    for &count in counts {
        let folder = tempfile::Builder::new().prefix("users-").tempdir_in(&bench.out)?;
        populate(&folder.path().join(DATA), count).await?;
        let host = bench.start(PACE, Mode::ON).host_in(folder.path()).await?;
        let options =
            Options { clients: 8, users: count, bearer: host.key.clone(), ..host.clients(PACE, true) };
        load(&Options { millis, ..options.clone() }).await?;
        hosts.push((count, folder, host, options, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, _, host, options, seen) in &mut hosts {
            let before = process::cpu_seconds(host.pid)?;
            let report = load(&Options { millis, ..options.clone() }).await?;
            let spent = process::cpu_seconds(host.pid)? - before;
            let p99 = report.total.p99 as f64 / 1000.0;
            seen.push([report.per_second(), p99, spent * 1e6 / report.turns as f64]);
        }
    }
    for (count, folder, host, _, seen) in hosts {
        let of = |index: usize, digits| {
            show(seen.iter().filter_map(|figures| figures.get(index).copied()), digits)
        };
        let memory = format!("{:.0}", process::memory_bytes(host.pid)? / 1e6);
        host.stop().await?;
        let database = std::fs::metadata(folder.path().join(DATA).join("masque.db"))?.len();
        table.row([
            count.to_string(),
            of(0, 0),
            of(1, 1),
            of(2, 0),
            memory,
            format!("{:.0}", database as f64 / 1e6),
        ]);
    }
    Ok(table)
}

/// Users with one conversation of one turn each, written through the host's own store.
async fn populate(folder: &Path, users: u64) -> anyhow::Result<()> {
    let store = SqliteStore::open(folder).await?;
    let companions = Arc::new(BTreeSet::from(["elara".to_owned()]));
    let host = Uuid::now_v7();
    let turns = (0..users).map(|user| {
        let (store, companions) = (Arc::clone(&store), Arc::clone(&companions));
        async move {
            let (tenant, issuer) = ("default".to_owned(), "masque".to_owned());
            let owner = Owner { tenant, issuer, subject: format!("user-{user}") };
            let message = |content: &str| NewMessage {
                id: MessageId::new(),
                content: content.to_owned(),
                metadata: json!({}),
            };
            let (id, companion) = (ConversationId::new(), "elara".to_owned());
            let admission = Admission {
                owner: owner.clone(),
                host,
                lease: Duration::from_secs(60),
                turn: TurnId::new(),
                target: Target::New { id, companion, title: "Tell me.".to_owned() },
                companion: None,
                companions,
                message: message("Tell me."),
                idempotency: None,
                resume: false,
                tail: TailLimit { messages: 64, bytes: 64 << 10 },
                waiting: None,
            };
            let admitted = store.admit(admission).await?;
            let AdmissionOutcome::Started(started) = admitted.outcome else {
                bail!("a turn was not admitted")
            };
            let commit = Commit {
                owner,
                conversation: id,
                turn: started.turn,
                epoch: started.epoch,
                reply: message("There is not much to tell."),
                finish: "stop".to_owned(),
                usage: UsageRecord::default(),
                response: json!({}),
                jobs: Vec::new(),
            };
            store.commit(commit).await?;
            Ok(())
        }
    });
    // Run many at once, so that they share transactions.
    stream::iter(turns).buffer_unordered(256).try_collect::<()>().await
}
