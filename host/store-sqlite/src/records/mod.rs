//! The records of turns, in a file of their own.

mod database;
mod export;
mod removal;
mod rows;

pub(crate) use database::{RecordsDatabase, path_of, remove_files};
pub(crate) use export::page;
pub(crate) use removal::{
    compare, is_any_of_user, is_anybodys, remove_beyond, remove_of_conversation, remove_of_user,
};
pub(crate) use rows::{find, insert};
