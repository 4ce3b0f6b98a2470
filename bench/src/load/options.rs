//! The command line of the clients.

use clap::{Args, ValueEnum};

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// `HOST:PORT`
    #[arg(long)]
    pub(crate) to: String,
    #[arg(long)]
    pub(crate) protocol: Protocol,
    #[arg(long)]
    pub(crate) bearer: Option<String>,
    /// The name of the model, if the protocol has one.
    #[arg(long, default_value = "")]
    pub(crate) model: String,
    /// The number of tokens that each reply must have.
    #[arg(long)]
    pub(crate) tokens: usize,
    #[arg(long)]
    pub(crate) stream: bool,
    /// Send an `Idempotency-Key` with each request.
    #[arg(long)]
    pub(crate) keyed: bool,
    #[arg(long, default_value_t = 1)]
    pub(crate) clients: usize,
    /// The number of requests of each client.
    #[arg(long, default_value_t = usize::MAX)]
    pub(crate) turns: usize,
    /// The time after which clients begin no further request, in milliseconds. Running requests are completed and counted.
    #[arg(long, default_value_t = u64::MAX)]
    pub(crate) millis: u64,
    /// The time over which the clients begin one after the other, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) ramp: u64,
    /// The name of the companion, if the protocol has companions.
    #[arg(long, default_value = "elara")]
    pub(crate) companion: String,
    /// The number of users on whose behalf turns are made in turn; 0 for none.
    #[arg(long, default_value_t = 0)]
    pub(crate) users: u64,
}

impl Protocol {
    /// Returns the name on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Masque => "masque",
            Self::Hello => "hello",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Chat completions of a model server or a proxy.
    Openai,
    /// `POST /chat`
    Masque,
    /// `GET /`, answered with `hello`: a lower bound of the cost of serving.
    Hello,
}
