//! The command line: what the operator asks for, and how mistakes are told. What the commands do is done elsewhere.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "speaking to a terminal is this room's purpose"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::active;
use crate::auth::{self, Task, Wanted};
use crate::builtin::{self, ELARA_CARD};
use crate::compiler::{COMPILE_COMMAND, compiler};
use crate::config::{Config, ConfigSource, Diagnostics, Environment, Flags, InvalidConfig, LoadedConfig};
use crate::convert;
use crate::parked_jobs;
use crate::serve;

/// A host for AI companions whose persona, memory and model are sandboxed components.
#[derive(Debug, Parser)]
#[command(name = "masque", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the host.
    Serve(Options),
    /// Validate the configuration without starting: every mistake with its line, or a summary.
    Check(CheckOptions),
    /// Background work that was given up: listed, or put back with --retry. Works beside a running host.
    Jobs(JobsOptions),
    /// API keys: made, listed, rotated, revoked. Works before a host's first start, and beside a running one.
    Keys {
        #[command(flatten)]
        options: Options,
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Tokens: revoked before their time. Works beside a running host.
    Tokens {
        #[command(flatten)]
        options: Options,
        #[command(subcommand)]
        command: TokensCommand,
    },
    /// Compiles the component on standard input; what a host starts for each new component.
    #[command(name = COMPILE_COMMAND, hide = true)]
    Compile,
}

/// Flags rule over variables, and those over the file.
#[derive(Args, Debug)]
struct Options {
    /// The configuration file [variable: MASQUE_CONFIG] [default: ./masque.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to listen on [variable: MASQUE_LISTEN] [default: 127.0.0.1:8000]
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// The folder that holds all state [variable: MASQUE_DATA] [default: ./masque-data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct CheckOptions {
    #[command(flatten)]
    options: Options,
    /// Judge it as if ENVIRONMENT were `production`: everything that is not safe is a mistake
    #[arg(long)]
    production: bool,
}

#[derive(Args, Debug)]
struct JobsOptions {
    #[command(flatten)]
    options: Options,
    /// Put back the job with this id, or `all`; a running host tries it again within a minute
    #[arg(long, value_name = "ID")]
    retry: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and show it, once.
    Create {
        /// What it is for
        name: String,
        /// What it may do: chat, admin:read, admin:write, tokens:mint or users:act; give it several times for several
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// Its tenant [default: default]
        #[arg(long)]
        tenant: Option<String>,
        /// Whom it may talk to; give it several times for several [default: all]
        #[arg(long = "companion", value_name = "NAME")]
        companions: Vec<String>,
        /// [default: unlimited]
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<u32>,
        /// The model's tokens, of input and output, in a day (UTC) [default: unlimited]
        #[arg(long, value_name = "N")]
        tokens_per_day: Option<u64>,
        /// [default: never]
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// All keys, without their secrets.
    List,
    /// Give a key another secret and show it, once.
    Rotate {
        /// The 16 digits after `msq_`
        id: String,
        /// For how long the secret before is good too [default: 24]
        #[arg(long, value_name = "HOURS")]
        overlap_hours: Option<u32>,
    },
    /// Revoke a key, and every token that was made with it.
    Revoke {
        /// The 16 digits after `msq_`
        id: String,
    },
}

impl From<KeysCommand> for Task {
    fn from(command: KeysCommand) -> Self {
        match command {
            KeysCommand::Create {
                name,
                scopes,
                tenant,
                companions,
                requests_per_minute,
                tokens_per_day,
                expires_in_days,
            } => Self::CreateKey(Wanted {
                name,
                scopes,
                tenant,
                companions: Some(companions).filter(|names| !names.is_empty()),
                requests_per_minute,
                tokens_per_day,
                expires_in_days,
            }),
            KeysCommand::List => Self::ListKeys,
            KeysCommand::Rotate { id, overlap_hours } => Self::RotateKey { id, overlap_hours },
            KeysCommand::Revoke { id } => Self::RevokeKey { id },
        }
    }
}

#[derive(Debug, Subcommand)]
enum TokensCommand {
    /// Make one token void, or all that a user has up to now.
    Revoke {
        /// The id of a token, its `jti`
        #[arg(long, required_unless_present = "user", conflicts_with = "user")]
        jti: Option<String>,
        /// A user, all of whose tokens become void
        #[arg(long)]
        user: Option<String>,
        /// Whose token or user it is [default: the host's own]
        #[arg(long)]
        issuer: Option<String>,
        /// The user's tenant [default: any]
        #[arg(long, requires = "user")]
        tenant: Option<String>,
    },
}

impl From<TokensCommand> for Task {
    fn from(command: TokensCommand) -> Self {
        let TokensCommand::Revoke { jti, user, issuer, tenant } = command;
        Self::RevokeTokens { jti, user, issuer, tenant }
    }
}

/// Runs the process: 0 for success, 1 where something is wrong, 2 (from clap) for a command line that makes no sense.
pub(crate) fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(options) => on_runtime(async {
            let (config, origin) = match load(options, false) {
                Ok(loaded) => loaded,
                Err(mistaken) => return failure(&all(mistaken).await.to_string()),
            };
            match serve::run(config, origin).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failure(&format!("{error:#}")),
            }
        }),
        Command::Check(CheckOptions { options, production }) => on_runtime(async {
            let config = match load(options, production) {
                Ok((config, _)) => config,
                Err(mistaken) => return failure(&all(mistaken).await.to_string()),
            };
            let mut problems = active::verify(&config, compiler(), builtin::component).await;
            problems.extend(convert::http::verify_tls(&config));
            let problems = Diagnostics::new(problems);
            if problems.are_fatal() {
                return failure(&problems.to_string());
            }
            println!("{}", summary(&config));
            ExitCode::SUCCESS
        }),
        Command::Jobs(JobsOptions { options, retry }) => on_runtime(async {
            let config = match load(options, false) {
                Ok((config, _)) => config,
                Err(mistaken) => return failure(&mistaken.diagnostics.to_string()),
            };
            match parked_jobs::list_or_retry(&config.data.folder, &retry).await {
                Ok(report) => {
                    println!("{report}");
                    ExitCode::SUCCESS
                }
                Err(error) => failure(&format!("{error:#}")),
            }
        }),
        Command::Keys { options, command } => on_runtime(on_the_machine(options, command.into())),
        Command::Tokens { options, command } => on_runtime(on_the_machine(options, command.into())),
        Command::Compile => match masque_runtime::compile_from_stdin() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error),
        },
    }
}

/// What needs no running host, only its data.
async fn on_the_machine(options: Options, task: Task) -> ExitCode {
    let config = match load(options, false) {
        Ok((config, _)) => config,
        Err(mistaken) => return failure(&mistaken.diagnostics.to_string()),
    };
    match auth::on_the_machine(&config, task).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => failure(&format!("{error:#}")),
    }
}

fn on_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    // A worker that is busy with guests looks at sockets and timers only between so many polls; a guest yields after a
    // tick of 2 ms at the latest, so this keeps their wait under 10 ms.
    match tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(4).build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => failure(&format!("the asynchronous runtime can't start: {error}")),
    }
}

/// The configuration, and where to read it again; warnings are told at once.
fn load(options: Options, production: bool) -> Result<(Config, ConfigSource), InvalidConfig> {
    let Options { config, listen, data } = options;
    let flags = Flags { config, listen, data, production };
    let origin = ConfigSource {
        flags,
        environment: Environment::of_process(),
        folder: PathBuf::new(),
        default_card: ELARA_CARD.into(),
    };
    let LoadedConfig { config, warnings } = origin.load()?;
    if !warnings.is_empty() {
        eprintln!("{warnings}");
    }
    Ok((config, origin))
}

/// Every mistake of the configuration, with those that show only once its plugins have said what they are.
async fn all(mistaken: InvalidConfig) -> Diagnostics {
    let mut problems = mistaken.diagnostics.into_vec();
    if let Some(rest) = mistaken.valid_part {
        problems.extend(active::verify(&rest, compiler(), builtin::component).await);
        problems.extend(convert::http::verify_tls(&rest));
    }
    Diagnostics::new(problems)
}

fn failure(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(1)
}

/// What a host with this configuration would be, for an operator who reads it before starting one.
fn summary(config: &Config) -> String {
    let file =
        config.file.as_ref().map_or("none, only defaults".to_owned(), |file| file.display().to_string());
    let mut lines = vec![
        "The configuration is valid.".to_owned(),
        format!("file        {file}"),
        format!("listen      {}", config.server.listen),
        format!("data        {}", config.data.folder.display()),
        format!("callers     {}", callers(config)),
    ];
    if let Some(tls) = &config.tls {
        lines.push(format!("tls         {}", tls.certificate.path.display()));
    }
    if let Some(address) = config.admin.listen {
        lines.push(format!("admin       {address}"));
    }
    for (name, companion) in &config.companions {
        let models: Vec<&str> = companion.models.iter().map(|model| model.as_str()).collect();
        let (persona, memory, models) = (&companion.persona, &companion.memory, models.join(", "));
        lines.push(format!("companion   {name}: persona {persona}, memory {memory}, models {models}"));
    }
    for (name, plugin) in &config.plugins {
        lines.push(format!("plugin      {name}: {}", plugin.source));
    }
    lines.push(format!("digest      {}", config.digest()));
    lines.join("\n")
}

/// How callers prove who they are.
fn callers(config: &Config) -> String {
    let auth = &config.auth;
    if !auth.required {
        return "prove nothing: authentication is off, for this machine alone".to_owned();
    }
    let own = auth.secret.as_ref().map(|_| "tokens of this host".to_owned());
    let issuers = auth.issuers.keys().map(|name| format!("tokens of {name}"));
    let ways: Vec<_> = ["API keys".to_owned()].into_iter().chain(own).chain(issuers).collect();
    ways.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_summary_names_everything_an_operator_asks_for() {
        let loaded =
            config::load(&Flags::default(), &Environment::default(), &std::env::temp_dir().join("nowhere"));
        let summary = summary(&loaded.unwrap().config);
        for part in [
            "listen      127.0.0.1:8000",
            "masque-data",
            "companion   elara: persona elara, memory window, models offline",
            "callers     prove nothing",
            "plugin      window: builtin:window",
            "digest      sha256:",
        ] {
            assert!(summary.contains(part), "{part} is not in:\n{summary}");
        }
    }
}
