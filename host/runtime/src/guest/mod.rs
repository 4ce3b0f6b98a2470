//! What a store holds for one call: the guest's view of the world, and the counters that bound it.

mod files;
mod imports;
mod journal;
mod notes;

use std::sync::Arc;

use tracing::Level;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::{WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub(crate) use self::files::Counted;
use self::files::Files;
pub use self::journal::clean;
use self::journal::{Desk, Pipe};
pub(crate) use self::journal::{Journal, Speaker};
pub(crate) use self::notes::Notes;
use crate::capability::{Asked, Call};
use crate::egress::Gate;
use crate::grants::Grants;
use crate::limits::{Ledger, Limits};
use crate::scratch::Lease;

/// The largest answer of `wasi:random`: far more than a key needs, far less than hurts.
const RANDOM_BYTES: u64 = 64 << 10;

/// Where a guest finds its scratch folder.
const SCRATCH: &str = "/scratch";

/// The data of a store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    gate: Gate,
    pub(crate) ledger: Ledger,
    lent: Lent,
    desk: Desk,
    scratch: Option<Arc<Lease>>,
    /// The files of WASI 0.3: none.
    looking: (WasiFilesystemCtx, ResourceTable),
}

/// What the contract's imports stand on.
pub(crate) struct Lent {
    pub(crate) grants: Arc<Grants>,
    pub(crate) settings: Arc<str>,
    pub(crate) call: Call,
    pub(crate) journal: Journal,
    pub(crate) notes: Notes,
    /// Absent between calls.
    pub(crate) asking: Option<Asking>,
}

/// What a question on the side is given, and how many there may be.
pub(crate) struct Asking {
    pub(crate) asked: Asked,
    pub(crate) limit: usize,
    pub(crate) left: usize,
}

impl Guest {
    /// No arguments, no environment, no sockets, no folder but the one that was granted: clocks, random bytes, and two
    /// bounded pipes into the log.
    pub(crate) fn new(
        lent: Lent,
        gate: Gate,
        limits: &Limits,
        scratch: Option<Arc<Lease>>,
    ) -> wasmtime::Result<Self> {
        let desk = Desk::new(lent.journal.clone());
        let mut wasi = WasiCtx::builder();
        wasi.stdout(Pipe { desk: desk.clone(), level: Level::INFO })
            .stderr(Pipe { desk: desk.clone(), level: Level::WARN })
            .max_random_size(RANDOM_BYTES)
            // `wasi:sockets` would bypass the gate; it stays shut for everyone, name look-up included.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(lease) = &scratch {
            wasi.preopened_dir(lease.path(), SCRATCH, FsPerms::ReadWrite)?;
        }
        let wasi = wasi.build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.header_bytes);
        let ledger = Ledger::new(limits, lent.notes.clone());
        let looking = (WasiFilesystemCtx::default(), files::small_table());
        Ok(Self { wasi, table, http, gate, ledger, lent, desk, scratch, looking })
    }

    /// Gives the store to its next call.
    pub(crate) fn begin(&mut self, lent: Lent, gate: Gate) {
        self.ledger.notes = lent.notes.clone();
        self.desk.hand_over(lent.journal.clone());
        self.gate = gate;
        self.lent = lent;
    }

    /// Lets go of what the call was lent.
    pub(crate) fn rest(&mut self) {
        self.lent.call = Call::until(self.lent.call.deadline);
        self.lent.asking = None;
    }

    /// Live resources on the host's side.
    pub(crate) fn resources(&mut self) -> usize {
        self.table.iter_mut().count() + self.looking.1.iter_mut().count()
    }

    /// For WASI 0.2.
    pub(crate) fn files(&mut self) -> Files<'_> {
        Files {
            wasi: WasiFilesystemCtxView { ctx: self.wasi.filesystem(), table: &mut self.table },
            lease: self.scratch.as_ref(),
            notes: &self.lent.notes,
        }
    }

    /// For WASI 0.3.
    pub(crate) fn looking(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView { ctx: &mut self.looking.0, table: &mut self.looking.1 }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.gate, table: &mut self.table, ctx: &mut self.http }
    }
}
