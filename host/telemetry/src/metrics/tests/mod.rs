//! The metrics as their readers see them. The registry is one for all tests of the process, so each uses families of its own.

mod document;
mod formats;
mod known_series;
mod parser;
mod series;
