//! Keeps the features of third-party crates as they are while crates move; removed with the last move.
