//! The command line's commands and flags, as clap reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use masque_auth::NewKeyRequest;

use crate::commands::keys::KeyTask;
use crate::commands::log;
use crate::commands::users::UserName;
use crate::compiler::COMPILE_COMMAND;

/// A host for AI companions whose persona, memory and model are sandboxed components.
#[derive(Debug, Parser)]
#[command(name = "masque", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the host.
    Serve(Options),
    /// Validate the configuration without starting: every error with its line, or a summary.
    Check(CheckOptions),
    /// Ask a running host whether it is ready: exit code 0 if it is, 1 with the reason if it is not. Takes 3 seconds at most.
    Health(HealthOptions),
    /// List parked background jobs (those that failed too often), or retry them with --retry. Works beside a running host.
    Jobs(JobsOptions),
    /// Create, list, rotate and revoke API keys. Works beside a running host; `create` also before a first start.
    Keys {
        #[command(flatten)]
        options: Options,
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Revoke tokens before they expire. Works beside a running host.
    Tokens {
        #[command(flatten)]
        options: Options,
        #[command(subcommand)]
        command: TokensCommand,
    },
    /// Print the host's id of a user, by name. Works beside a running host.
    Users {
        #[command(flatten)]
        options: Options,
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// Change the level of a running host's log for a while, or show it.
    Log(LogOptions),
    /// Erase everything that is kept of a user, also while a host runs; or erase again, in a restored database, whom a list names.
    Erase(EraseOptions),
    /// List erased users: time, pseudonym and receipt of each.
    Erasures(Options),
    /// Show what made a turn: what was recalled, the parts of its prompt, and the cost of each step. Works beside a running
    /// host. Each use is in the audit log.
    Explain(ExplainOptions),
    /// Bring the schema of the PostgreSQL database in DATABASE_URL up to date. Works beside running hosts. With --from, copy
    /// a data folder into that database.
    Migrate(MigrateOptions),
    /// Write the SQLite database into one new file, or to standard output. Works beside a running host.
    Backup(BackupOptions),
    /// Put a backup in the place of the SQLite database, after its host was stopped.
    Restore(RestoreOptions),
    /// Compile the component on standard input. A host starts this command for each new component.
    #[command(name = COMPILE_COMMAND, hide = true)]
    Compile,
}

/// Where the configuration, the listener and the data are. Flags take precedence over environment variables, and those
/// over the file.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The configuration file [variable: MASQUE_CONFIG] [default: ./masque.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen on [variable: MASQUE_LISTEN] [default: 127.0.0.1:8000]
    #[arg(long, global = true, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// The folder that holds all state [variable: MASQUE_DATA] [default: ./masque-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct CheckOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Validate as if ENVIRONMENT were `production`: everything unsafe is an error
    #[arg(long)]
    pub(crate) production: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HealthOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Ask over plain HTTP at http://HOST:PORT [default: over the socket in the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct JobsOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Retry the job with this id, or `all`; a running host runs it within a minute
    #[arg(long, value_name = "ID")]
    pub(crate) retry: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct LogOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// error, warn, info, debug, trace or off, or directives such as `info,masque_http=debug` [default: show the level]
    #[arg(value_name = "LEVEL")]
    pub(crate) level: Option<String>,
    /// How long, a day at most; then the configured level is in effect again
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = log::parse_duration)]
    pub(crate) duration: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct EraseOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// The user's id: what `masque users id` prints, or `user_id` of POST /auth/validate
    #[arg(value_name = "USER_ID", required_unless_present = "replay", conflicts_with = "replay")]
    pub(crate) user: Option<String>,
    /// After a restore, before a host starts: erase again whom this erasure list names
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// The id of the turn: `turn_id` of the reply
    #[arg(value_name = "TURN")]
    pub(crate) turn: String,
    /// Print what GET /turns/{id}/explain answers
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MigrateOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Change nothing; exit with 1 if the database has to be migrated
    #[arg(long)]
    pub(crate) check: bool,
    /// Copy everything from the data folder of a stopped host into the database, which must be empty: sqlite:FOLDER
    #[arg(long, value_name = "SQLITE", conflicts_with = "check")]
    pub(crate) from: Option<String>,
    /// The database to copy into [default: DATABASE_DIRECT_URL, or DATABASE_URL]. Other users of this machine can read
    /// the command line: name a database with a password in the variable
    #[arg(long, value_name = "URL", requires = "from")]
    pub(crate) to: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct BackupOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// The file to write, which must not exist; `-` for standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// A file that `masque backup` wrote
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The erasure list: whoever was erased after the backup was made is erased again [default: erasures.jsonl in the data
    /// folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) erasures: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Create a key and show its secret, once.
    Create {
        /// What it is for
        name: String,
        /// What it may do: chat, admin:read, admin:write, content:read, metrics:read, tokens:mint or users:act; repeat for several
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// Its tenant [default: default]
        #[arg(long)]
        tenant: Option<String>,
        /// A companion it may talk to; repeat for several [default: all]
        #[arg(long = "companion", value_name = "NAME")]
        companions: Vec<String>,
        /// Requests in a minute [default: unlimited]
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<u32>,
        /// Model tokens, input and output together, per day (UTC) [default: unlimited]
        #[arg(long, value_name = "N")]
        tokens_per_day: Option<u64>,
        /// Days until the key expires [default: never]
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// List all keys, without their secrets.
    List,
    /// Give a key a new secret and show it, once.
    Rotate {
        /// The 16 digits after `msq_`
        id: String,
        /// How long the previous secret stays valid [default: 24]
        #[arg(long, value_name = "HOURS")]
        overlap_hours: Option<u32>,
    },
    /// Revoke a key, and every token that was minted with it.
    Revoke {
        /// The 16 digits after `msq_`
        id: String,
    },
}

impl From<KeysCommand> for KeyTask {
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
            } => Self::CreateKey(NewKeyRequest {
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
pub(crate) enum TokensCommand {
    /// Revoke one token, or all tokens of a user up to now.
    Revoke {
        /// The id of a token: its `jti`
        #[arg(long, required_unless_present = "user", conflicts_with = "user")]
        jti: Option<String>,
        /// A user: all their tokens are revoked
        #[arg(long)]
        user: Option<String>,
        /// The issuer of the token or user [default: the host's own]
        #[arg(long)]
        issuer: Option<String>,
        /// The user's tenant [default: any]
        #[arg(long, requires = "user")]
        tenant: Option<String>,
    },
}

impl From<TokensCommand> for KeyTask {
    fn from(command: TokensCommand) -> Self {
        let TokensCommand::Revoke { jti, user, issuer, tenant } = command;
        Self::RevokeTokens { jti, user, issuer, tenant }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Print the id of a user, which `masque erase` and the paths below /users/ take.
    Id {
        /// The user's name: `sub` of the tokens
        #[arg(value_name = "SUBJECT")]
        subject: String,
        /// The issuer of the user [default: the host's own]
        #[arg(long)]
        issuer: Option<String>,
        /// The user's tenant [default: default]
        #[arg(long)]
        tenant: Option<String>,
    },
}

impl From<UsersCommand> for UserName {
    fn from(command: UsersCommand) -> Self {
        let UsersCommand::Id { subject, issuer, tenant } = command;
        Self { subject, issuer, tenant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_without_a_unit_is_answered_with_the_form_that_the_documents_use() {
        for time in ["10", "", "soon", "10 m 5"] {
            let refused = Cli::try_parse_from(["masque", "log", "debug", "--for", time]).err().unwrap();
            assert!(refused.to_string().contains("a number with its unit, such as `10m`"), "{refused}");
        }
        assert!(Cli::try_parse_from(["masque", "log", "debug", "--for", "10m"]).is_ok());
    }
}
