//! Plugins that attack their host. An attack costs only its own call: the call fails with an error that names the plugin,
//! the function and the limit or grant, turns with another companion succeed, and the host uses no more memory,
//! descriptors and slots afterwards than before.

mod calls;
mod compiling;
mod connections;
mod echoes;
mod files;
mod log_readers;
mod names;
mod network;
mod replies;
mod stacks;
mod store_work;

use futures::future::join_all;
use masque_tests::{BackgroundClient, Baseline, Host, Setup, fixture};
use serde_json::json;

/// The companion of the client that makes turns while plugins attack.
const HEALTHY_COMPANION: &str = "elara";

/// How often each attack runs.
const ROUNDS: usize = 3;

/// A plugin that attacks, and the expected outcome.
struct Attack {
    /// The name of the plugin and of its companion.
    name: &'static str,
    fixture: &'static str,
    /// Further lines of the plugin's table in `masque.toml`.
    entry: String,
    function: &'static str,
    outcome: AttackOutcome,
}

enum AttackOutcome {
    /// The client receives a problem of this status and type. One line of the log has the plugin, the function and these
    /// words.
    Fails(u16, &'static str, &'static [&'static str]),
    /// The turn completes, because the attack has no effect or only a bounded one. If there are words, one line of the log
    /// has them and the plugin.
    Completes(&'static [&'static str]),
}

/// The lines of a plugin's table, with more CPU time than another limit takes to be reached on a slow machine, unless the CPU
/// time is what is limited.
fn with_cpu(entry: &str) -> String {
    if entry.contains("limits.cpu") { entry.to_owned() } else { format!("{entry}\nlimits.cpu = \"50s\"") }
}

impl Attack {
    /// A configuration with one companion for each attack, whose persona or model is the attacking plugin.
    fn setup(attacks: &[Self]) -> Setup {
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

    /// Runs the attack once, and checks the answer and the log.
    async fn run(&self, host: &Host) {
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
            AttackOutcome::Completes(words) => {
                answer.expect(200);
                if !words.is_empty() {
                    host.logged_in_one_line(&[&[*name], *words].concat()).await;
                }
            }
        }
    }
}

/// Runs all attacks at the same time, in several rounds. Asserts that another client's turns succeed meanwhile, and that the
/// host uses no more resources after the last round than after the first one.
async fn assert_withstood(host: &Host, description: &str, attacks: &[Attack]) {
    let background_client = BackgroundClient::start(host.client(), HEALTHY_COMPANION).await;
    join_all(attacks.iter().map(|attack| attack.run(host))).await;
    background_client.finish(description).await;

    let baseline = Baseline::of(host).await;
    let background_client = BackgroundClient::start(host.client(), HEALTHY_COMPANION).await;
    for _ in 1..ROUNDS {
        join_all(attacks.iter().map(|attack| attack.run(host))).await;
    }
    background_client.finish(description).await;
    baseline.returns(host).await;
}
