//! What the command line says of the configuration.

use std::path::PathBuf;

/// Flags of the command line. They take precedence over environment variables and the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`: the configuration file.
    pub config: Option<PathBuf>,
    /// `--listen`: the address to listen on.
    pub listen: Option<String>,
    /// `--data`: the folder that holds all state.
    pub data: Option<PathBuf>,
    /// `--production`: read the configuration as if `ENVIRONMENT` were `production`.
    pub production: bool,
}
