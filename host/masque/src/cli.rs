//! Runs the command that the operator asks for, and prints its result.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use masque_config::{ConfigSource, Diagnostics, LoadedPart, StateConfig};

use crate::args::{
    BackupOptions, CheckOptions, Cli, Command, EraseOptions, ExplainOptions, HealthOptions, JobsOptions,
    LogOptions, MigrateOptions, Options, RestoreOptions,
};
use crate::commands::keys::{self, KeyTask};
use crate::commands::users::{self, UserName};
use crate::commands::{backup, check, copy, erase, explain, health, jobs, log, migrate};
use crate::configuration::{self, Loaded};
use crate::convert;
use crate::error_text::with_causes;
use crate::file_size_limit;
use crate::output::{Loss, print, print_error};
use crate::serve::{self, PassedSockets};

/// The name of a file that stands for standard output.
const STANDARD_OUTPUT: &str = "-";

/// Runs the process. The exit code is 0 for success, 1 for an error, and 2 (from clap) for an invalid command line.
pub(crate) fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(options) => {
            // Before there is a runtime, whose own descriptors could have the numbers of sockets that are missing.
            let passed = PassedSockets::take();
            on_runtime(run_serve(options, passed))
        }
        Command::Check(options) => on_runtime(run_check(options)),
        Command::Health(options) => on_runtime(run_health(options)),
        Command::Jobs(options) => on_runtime(run_jobs(options)),
        Command::Keys { options, command } => on_runtime(run_keys(options, command.into())),
        Command::Tokens { options, command } => on_runtime(run_keys(options, command.into())),
        Command::Users { options, command } => on_runtime(run_users(options, command.into())),
        Command::Log(options) => on_runtime(run_log(options)),
        Command::Erase(options) => on_runtime(run_erase(options)),
        Command::Erasures(options) => on_runtime(run_erasures(options)),
        Command::Explain(options) => on_runtime(run_explain(options)),
        Command::Migrate(options) => on_runtime(run_migrate(options)),
        Command::Backup(options) => on_runtime(run_backup(options)),
        Command::Restore(options) => on_runtime(run_restore(options)),
        Command::Compile => finish(masque_runtime::compile_from_stdin().map(|()| String::new()), Loss::Fatal),
    }
}

async fn run_serve(options: Options, passed: anyhow::Result<PassedSockets>) -> ExitCode {
    let Loaded { config, source, warnings } = match configuration::load(options, false) {
        Ok(loaded) => loaded,
        Err(invalid) => return failure(&configuration::all_errors(invalid).await),
    };
    // From here on the log prints: whoever reads standard error may stall or go away.
    let log = match masque_telemetry::start(&convert::telemetry::options(&config.log)) {
        Ok(log) => log,
        Err(error) => return failure(&chain(error.into())),
    };
    if !warnings.is_empty() {
        log.print(&warnings.to_string());
    }
    match serve::run(config, source, passed).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.print(&chain(error));
            ExitCode::FAILURE
        }
    }
}

async fn run_check(CheckOptions { options, production }: CheckOptions) -> ExitCode {
    let loaded = match configuration::load(options, production) {
        Ok(loaded) => loaded,
        Err(invalid) => return failure(&configuration::all_errors(invalid).await),
    };
    warn(&loaded.warnings);
    let checked = check::check(&loaded.config).await.map(|(summary, warnings)| {
        warn(&warnings);
        summary
    });
    finish(checked, Loss::Accepted)
}

async fn run_health(HealthOptions { options, url }: HealthOptions) -> ExitCode {
    let folder = std::env::var_os("MASQUE_DATA").map(PathBuf::from);
    let asked = match health::Target::find(url.as_deref(), options, folder) {
        Ok(target) => health::ask_readiness(&target).await,
        Err(error) => Err(error),
    };
    finish(asked.map_err(chain), Loss::Accepted)
}

async fn run_jobs(JobsOptions { options, retry }: JobsOptions) -> ExitCode {
    on_state(options, async |state| {
        finish(jobs::list_or_retry(&state, &retry).await.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_log(LogOptions { options, level, duration }: LogOptions) -> ExitCode {
    let source = configuration::source(options, false);
    on_part(source, ConfigSource::load_data_folder, async |folder: PathBuf| {
        finish(log::show_or_change(&folder, level, duration).await.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_users(options: Options, name: UserName) -> ExitCode {
    let source = configuration::source(options, false);
    let issuers = match source.load_token_issuers() {
        Ok(loaded) => loaded.part,
        Err(mistakes) => return failure(&mistakes),
    };
    on_part(source, ConfigSource::load_state, async |state: StateConfig| {
        finish(users::id(&state, issuers.own, name).await.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_erase(EraseOptions { options, user, replay }: EraseOptions) -> ExitCode {
    on_state(options, async |state| {
        let done = match replay {
            Some(list) => erase::replay(&state, &list).await,
            None => erase::erase(&state, &user.unwrap_or_default()).await,
        };
        finish(done.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_erasures(options: Options) -> ExitCode {
    on_state(options, async |state| finish(erase::list(&state).map_err(chain), Loss::Accepted)).await
}

async fn run_explain(ExplainOptions { options, turn, json }: ExplainOptions) -> ExitCode {
    let layout = if json { explain::Layout::Json } else { explain::Layout::for_terminal() };
    on_state(options, async |state| {
        finish(explain::explain(&state, &turn, layout).await.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_migrate(MigrateOptions { options, check, from, to }: MigrateOptions) -> ExitCode {
    on_state(options, async |state| {
        let migrated = match from {
            Some(from) => copy::run(&state, &from, to.as_deref()).await,
            None => migrate::run(&state, check).await,
        };
        finish(migrated.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_backup(BackupOptions { options, file }: BackupOptions) -> ExitCode {
    on_state(options, async |state| {
        if file.as_os_str() == STANDARD_OUTPUT {
            return match backup::back_up_to_output(&state).await {
                Ok(report) => {
                    print_error(&report);
                    ExitCode::SUCCESS
                }
                Err(error) => failure(&chain(error)),
            };
        }
        finish(backup::back_up(&state, &file).await.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_restore(RestoreOptions { options, file, erasures }: RestoreOptions) -> ExitCode {
    on_state(options, async |state| {
        finish(backup::restore(&state, &file, erasures).await.map_err(chain), Loss::Accepted)
    })
    .await
}

async fn run_keys(options: Options, task: KeyTask) -> ExitCode {
    let source = configuration::source(options, false);
    let whole = source.clone();
    on_part(source, ConfigSource::load_state, async |state: StateConfig| {
        warn(&keys::unknown_companions(&task, &state));
        let shows_secret = task.shows_secret();
        let loss = if shows_secret { Loss::Fatal } else { Loss::Accepted };
        let performed = keys::perform(&state, &whole, task).await.map_err(chain);
        let is_shown = shows_secret && performed.is_ok();
        let code = finish(performed, loss);
        if is_shown && code == ExitCode::SUCCESS {
            print_error(&keys::SECRET_NOTE);
        }
        code
    })
    .await
}

/// Runs a command that needs to know only where the state of a host is.
async fn on_state(options: Options, command: impl AsyncFnOnce(StateConfig) -> ExitCode) -> ExitCode {
    on_part(configuration::source(options, false), ConfigSource::load_state, command).await
}

/// Runs a command that needs the part of the configuration that `load` reads. Mistakes in the rest do not stop it; they are
/// looked for after the command, so that they can't hold it up either.
async fn on_part<T>(
    source: ConfigSource,
    load: impl FnOnce(&ConfigSource) -> Result<LoadedPart<T>, Diagnostics>,
    command: impl AsyncFnOnce(T) -> ExitCode,
) -> ExitCode {
    let LoadedPart { part, warnings } = match load(&source) {
        Ok(loaded) => loaded,
        Err(mistakes) => return failure(&mistakes),
    };
    warn(&warnings);
    let code = command(part).await;
    configuration::tell_of_other_mistakes(source).await;
    code
}

fn on_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    // A busy worker polls sockets and timers once per `event_interval` tasks. A guest yields after 2 ms at the latest, so
    // with 4 they wait less than 10 ms; the default of 61 measured up to 750 ms.
    match tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(4).build() {
        Ok(runtime) => {
            let code = runtime.block_on(async {
                // Before anything is written, since the log itself may be at the limit.
                if let Err(error) = file_size_limit::make_writes_fail() {
                    print_error(&format_args!("SIGXFSZ can't be handled: {error}"));
                }
                work.await
            });
            // Dropping the runtime would wait for blocking work, such as a name lookup or a file system that is away.
            runtime.shutdown_timeout(serve::RUNTIME_END);
            code
        }
        Err(error) => failure(&format!("the asynchronous runtime can't start: {error}")),
    }
}

/// Formats an error with its causes in one line.
fn chain(error: anyhow::Error) -> String {
    with_causes(&error)
}

/// Prints a command's report, unless it is empty, or its error.
fn finish(result: Result<String, impl Display>, loss: Loss) -> ExitCode {
    match result {
        Ok(report) if report.is_empty() => ExitCode::SUCCESS,
        Ok(report) => print(&report, loss),
        Err(error) => failure(&error),
    }
}

fn warn(warnings: &Diagnostics) {
    if !warnings.is_empty() {
        print_error(warnings);
    }
}

fn failure(error: &impl Display) -> ExitCode {
    print_error(error);
    ExitCode::FAILURE
}
