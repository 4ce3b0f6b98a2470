//! Measures streamed turns with a model that sends one HTTP chunk per token, as real models do, over HTTP/1.1 and HTTP/2, and for
//! comparison all tokens in one piece.

use super::bench::Bench;
use crate::load::{LoadReport, Options};
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{Host, Mode, Server, direct, load};
use crate::stats::show;

const TOKENS: usize = 40;
const CLIENTS: usize = 8;

/// How the tokens come from the model.
struct Upstream {
    name: &'static str,
    pace: Pace,
    is_http2: bool,
}

const UPSTREAMS: [Upstream; 3] = [
    Upstream { name: "all at once", pace: Pace::at_once(TOKENS), is_http2: false },
    Upstream { name: "one chunk per token", pace: Pace::chunks(TOKENS), is_http2: false },
    Upstream { name: "one frame per token, HTTP/2", pace: Pace::chunks(TOKENS), is_http2: true },
];

/// A host, or the model alone.
struct Candidate<'a> {
    name: &'static str,
    upstream: &'static Upstream,
    mock: &'a Server,
    host: Option<Host>,
    seen: Vec<Figures>,
}

/// What one round measured. Processor time is in microseconds per turn, times are in milliseconds.
struct Figures {
    per_second: f64,
    host: f64,
    mock: f64,
    first: f64,
    total: f64,
}

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(5, 1), bench.size(3000, 300));
    let certificate = bench.out.join("mock.pem");
    let http2 = Server::mock_http2(&certificate).await?;
    let mut candidates = Vec::new();
    for upstream in &UPSTREAMS {
        let mock = if upstream.is_http2 { &http2 } else { &bench.mock };
        if !upstream.is_http2 {
            candidates.push(Candidate {
                name: "the model alone",
                upstream,
                mock,
                host: None,
                seen: Vec::new(),
            });
        }
        let older = bench.before.as_deref().map(|bin| ("an older host", bin));
        for (name, bin) in older.into_iter().chain([("Masque", &*bench.bin)]) {
            let mut start = bench.start(upstream.pace, Mode::ON);
            (start.bin, start.mock) = (bin, mock);
            if upstream.is_http2 {
                start.scheme = "https";
                start.environment.push(("SSL_CERT_FILE", certificate.display().to_string()));
            }
            let host = Some(start.host().await?);
            candidates.push(Candidate { name, upstream, mock, host, seen: Vec::new() });
        }
    }
    for candidate in &candidates {
        candidate.round(CLIENTS, millis / 2).await?;
    }
    for _ in 0..rounds {
        for candidate in &mut candidates {
            let figures = candidate.round(CLIENTS, millis).await?;
            let alone = candidate.round(1, millis / 3).await?;
            candidate.seen.push(Figures { first: alone.first, total: alone.total, ..figures });
        }
    }
    let mut table = Table::new(
        "One chunk per token",
        &format!(
            "{TOKENS} tokens, streamed, all features on. Turns per second and processor time with {CLIENTS} clients, times with \
             one client. The processor time of the model is that of its own process for one answer. {rounds} alternating rounds."
        ),
        &[
            "tokens",
            "",
            "turns/s",
            "µs of the host per turn",
            "µs of the model per answer",
            "host over model",
            "first byte p50, ms",
            "whole turn p50, ms",
        ],
    );
    for Candidate { name, upstream, host, seen, .. } in candidates {
        let of = |figure: fn(&Figures) -> f64, digits| show(seen.iter().map(figure), digits);
        let cost = |figure: fn(&Figures) -> f64, digits| match &host {
            Some(_) => of(figure, digits),
            None => "–".to_owned(),
        };
        table.row([
            upstream.name.to_owned(),
            name.to_owned(),
            of(|figures| figures.per_second, 0),
            cost(|figures| figures.host, 0),
            of(|figures| figures.mock, 0),
            cost(|figures| figures.host / figures.mock, 1),
            of(|figures| figures.first, 2),
            of(|figures| figures.total, 2),
        ]);
        if let Some(host) = host {
            host.stop().await?;
        }
    }
    Ok(vec![table])
}

impl Candidate<'_> {
    async fn round(&self, clients: usize, millis: u64) -> anyhow::Result<Figures> {
        let options = match &self.host {
            Some(host) => host.clients(self.upstream.pace, true),
            None => direct(&self.mock.address, self.upstream.pace, true),
        };
        let used = || anyhow::Ok((self.host_seconds()?, process::cpu_seconds(self.mock.pid)?));
        let before = used()?;
        let report: LoadReport = load(&Options { clients, millis, ..options }).await?;
        let after = used()?;
        let per_turn = |seconds: f64| seconds * 1e6 / report.turns as f64;
        Ok(Figures {
            per_second: report.per_second(),
            host: per_turn(after.0 - before.0),
            mock: per_turn(after.1 - before.1),
            first: report.first.p50 as f64 / 1000.0,
            total: report.total.p50 as f64 / 1000.0,
        })
    }

    fn host_seconds(&self) -> anyhow::Result<f64> {
        self.host.as_ref().map_or(Ok(0.0), |host| process::cpu_seconds(host.pid))
    }
}
