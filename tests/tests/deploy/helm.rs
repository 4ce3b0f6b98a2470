//! The chart, rendered by Helm's own code.

mod configuration;
mod guide;
mod objects;
mod pods;
mod rendering;
mod schemas;
mod values;
