//! An HTTP client whose bodies stream in both directions.
//!
//! Every request goes through the host. It decides which origins may be reached, adds credentials that the plugin never
//! sees, follows no redirects and ends every wait at the turn's deadline.
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

mod error;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
mod native_body;
mod request;
mod response;
mod send;
#[cfg(target_arch = "wasm32")]
mod wasi;
#[cfg(target_arch = "wasm32")]
mod wasi_body;
#[cfg(target_arch = "wasm32")]
mod wasi_error;

pub use error::Error;
pub use request::{BodyWriter, Request};
pub use response::Response;
