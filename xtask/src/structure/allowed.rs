//! The tables of allowed dependencies between the crates of the workspace. They are a decision: a crate that needs
//! something from above it is in the wrong place, or needs a small trait.

/// What a crate may depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allowed {
    /// Any member of the workspace.
    All,
    /// The host crates only, any of them.
    AllOfHost,
    /// These members only.
    Only(&'static [&'static str]),
}

/// The crates in `host/`, each with what it may use.
///
/// Their tests, benchmarks and examples may use more (dev-dependencies): whatever the crate reaches through the crates
/// of its row, and [`TEST_STORE`] where it reaches [`STORE`], so that turns and api test against a real store.
///
/// `masque-recall` does not exist yet. Its row is intended: it reserves the place of the crate.
pub(crate) const HOST: &[(&str, Allowed)] = &[
    ("masque", Allowed::AllOfHost),
    (
        "masque-api",
        Allowed::Only(&[
            "masque-auth",
            "masque-companions",
            "masque-http",
            "masque-problem",
            "masque-store",
            "masque-telemetry",
            "masque-turns",
        ]),
    ),
    (
        "masque-turns",
        Allowed::Only(&[
            "masque-companions",
            "masque-grants",
            "masque-problem",
            "masque-recall",
            "masque-runtime",
            "masque-store",
            "masque-telemetry",
        ]),
    ),
    (
        "masque-companions",
        Allowed::Only(&[
            "masque-config",
            "masque-files",
            "masque-grants",
            "masque-runtime",
            "masque-store",
            "masque-telemetry",
        ]),
    ),
    (
        "masque-auth",
        Allowed::Only(&[
            "masque-files",
            "masque-grants",
            "masque-http",
            "masque-problem",
            "masque-store",
            "masque-telemetry",
        ]),
    ),
    (
        "masque-http",
        Allowed::Only(&["masque-files", "masque-problem", "masque-read-bound", "masque-telemetry"]),
    ),
    ("masque-store-sqlite", Allowed::Only(STORE_IMPLEMENTATION)),
    ("masque-store-postgres", Allowed::Only(STORE_IMPLEMENTATION)),
    ("masque-store-redis", Allowed::Only(STORE_IMPLEMENTATION)),
    (
        "masque-runtime",
        Allowed::Only(&["masque-files", "masque-grants", "masque-read-bound", "masque-telemetry"]),
    ),
    ("masque-config", Allowed::Only(&["masque-files", "masque-grants"])),
    ("masque-files", Allowed::Only(&[])),
    ("masque-store", Allowed::Only(&[])),
    ("masque-grants", Allowed::Only(&[])),
    ("masque-problem", Allowed::Only(&[])),
    ("masque-read-bound", Allowed::Only(&[])),
    ("masque-recall", Allowed::Only(&[])),
    ("masque-telemetry", Allowed::Only(&[])),
];

const STORE_IMPLEMENTATION: &[&str] = &["masque-files", "masque-recall", "masque-store", "masque-telemetry"];

/// The traits of the store.
pub(crate) const STORE: &str = "masque-store";

/// The store that tests of other crates run on.
pub(crate) const TEST_STORE: &str = "masque-store-sqlite";

/// The other folders of the workspace, each with what the crates in it may use, tests included. The longest folder
/// that matches counts.
pub(crate) const FOLDERS: &[(&str, Allowed)] = &[
    ("sdk", Allowed::Only(&[])),
    ("plugins", Allowed::Only(&["masque-sdk"])),
    ("examples", Allowed::Only(&["masque-sdk"])),
    ("tests/fixtures", Allowed::Only(&["masque-sdk"])),
    ("tests/golden", Allowed::Only(&["masque-sdk"])),
    ("tests", Allowed::All),
    ("bench", Allowed::All),
    ("xtask", Allowed::Only(&[])),
];
