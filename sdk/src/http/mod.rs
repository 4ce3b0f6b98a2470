//! An HTTP client over the host's gate, with bodies that stream both ways.
//!
//! The host decides what may be reached, adds credentials that the plugin never sees, follows no redirects and cuts
//! every wait at the turn's deadline.
//!
//! ```no_run
//! # async fn example() -> masque_sdk::Result<()> {
//! use masque_sdk::http::Request;
//! use std::time::Duration;
//!
//! let response = Request::post("https://api.example.org/v1/talk")
//!     .header("content-type", "application/json")
//!     .between_bytes_timeout(Duration::from_secs(30))
//!     .body(r#"{"say": "hello"}"#)
//!     .send()
//!     .await?;
//! let mut events = response.events();
//! while let Some(arrived) = events.arrived().await? {
//!     for event in arrived {
//!         tracing::info!(data = event.data, "heard");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod canned;
mod error;
mod request;
mod response;
#[cfg(target_arch = "wasm32")]
mod wasi;

pub use error::Error;
pub use request::{BodyWriter, Request};
pub use response::Response;
