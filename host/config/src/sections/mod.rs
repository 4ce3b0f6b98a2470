//! One module for each section of the file: the plain values that it becomes, and how it is read.

pub(crate) mod active_set;
pub(crate) mod admin;
pub(crate) mod auth;
pub(crate) mod companions;
pub(crate) mod cors;
pub(crate) mod credentials;
pub(crate) mod data;
pub(crate) mod database;
pub(crate) mod erasure;
pub(crate) mod grants;
pub(crate) mod issuers;
pub(crate) mod jobs;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod plugin_limits;
pub(crate) mod plugins;
pub(crate) mod records;
pub(crate) mod redis;
pub(crate) mod retention;
pub(crate) mod sandbox;
pub(crate) mod server;
pub(crate) mod setting_file;
pub(crate) mod settings;
pub(crate) mod signing_keys;
pub(crate) mod tls;
pub(crate) mod turn;
