//! The upper bounds of histogram buckets.

/// Seconds of a request or a turn: from what a health check takes to the longest turn that is allowed by default.
pub(crate) const REQUEST_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];
/// Seconds of work within the host: from tens of microseconds.
pub(crate) const SHORT_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Seconds of what mostly takes milliseconds and must be seen when it takes as long as a turn may: up to the longest turn that is
/// allowed by default.
pub(crate) const OPERATION_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0,
];
/// Bytes of a guest's memory: from one page of WebAssembly to 256 MiB.
pub(crate) const MEMORY_BYTES: &[f64] =
    &[65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0, 268_435_456.0];
/// Shares of a quota: close to each other where it becomes tight.
pub(crate) const QUOTA_RATIO: &[f64] = &[0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 1.0];
