//! Plugins that attack their host. Each attack costs its own call and nothing else: the call fails in words that name
//! plugin, function and limit or grant, turns with another companion go on, and the host holds no more afterwards than
//! it held before.

mod calls;
mod compiling;
mod files;
mod names;
mod network;
mod replies;

use futures::future::join_all;
use masque_tests::{BackgroundClient, Baseline, Host, Setup, fixture};
use serde_json::json;

/// The companion of those who are not attacked.
const HEALTHY_COMPANION: &str = "elara";

/// How often each attack is made while the host is watched.
const ROUNDS: usize = 3;

/// A plugin that attacks, and what must come of it.
struct Attack {
    /// The plugin's name, and its companion's.
    name: &'static str,
    fixture: &'static str,
    /// Lines of its table in the file.
    entry: String,
    function: &'static str,
    outcome: AttackOutcome,
}

enum AttackOutcome {
    /// The client gets this problem, and the log has one line with the plugin, the function and these words.
    Fails(u16, &'static str, &'static [&'static str]),
    /// The call is let off: what it did is without effect on anyone, or bounded. The log has one line with these words.
    GoesOn(&'static [&'static str]),
}

impl Attack {
    /// The tables of a file in which each of them plays a companion: as its persona, or as its model.
    fn tables(attacks: &[Self]) -> Setup {
        let mut setup = Setup::file(
            "[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n\n[turn]\nreply_bytes = \"64KiB\"\nlog_ttl = \"1s\"\n",
        );
        for Self { name, fixture: component, entry, function, .. } in attacks {
            let (persona, model) =
                if *function == "generate" { ("elara", *name) } else { (*name, "offline") };
            let source = fixture(component);
            setup = setup.and(&format!(
                "[companions.{name}]\npersona = \"{persona}\"\nmodels = [\"{model}\"]\n\n[plugins.{name}]\nsource = {source:?}\n{entry}\n"
            ));
        }
        setup
    }

    /// Once, seen from both sides.
    async fn make(&self, host: &Host) {
        let Self { name, function, outcome, .. } = self;
        let body = json!({ "message": "Hello.", "companion": name });
        let answer = host.client().chat(&body).send().await;
        let plugin = format!("`{name}`");
        match outcome {
            AttackOutcome::Fails(status, kind, words) => {
                assert_eq!(answer.status, *status, "{name}: {}", answer.text);
                let problem = answer.problem(*status, kind).to_string();
                assert!(!problem.contains(fixture(self.fixture).to_str().unwrap()), "{problem}");
                let function = format!("{function}: ");
                host.logged_in_one_line(&[&[plugin.as_str(), &function], *words].concat()).await;
            }
            AttackOutcome::GoesOn(words) => {
                answer.expect(200);
                if !words.is_empty() {
                    host.logged_in_one_line(&[&[*name], *words].concat()).await;
                }
            }
        }
    }
}

/// Makes all of the attacks at once, several times, and holds the host to what it held after the first time.
async fn withstands(host: &Host, what: &str, attacks: &[Attack]) {
    let background_client = BackgroundClient::start(host.client(), HEALTHY_COMPANION);
    join_all(attacks.iter().map(|attack| attack.make(host))).await;
    background_client.finish(what).await;

    let baseline = Baseline::of(host).await;
    let background_client = BackgroundClient::start(host.client(), HEALTHY_COMPANION);
    for _ in 1..ROUNDS {
        join_all(attacks.iter().map(|attack| attack.make(host))).await;
    }
    background_client.finish(what).await;
    baseline.returns(host).await;
}
