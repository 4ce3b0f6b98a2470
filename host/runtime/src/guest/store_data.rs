//! The data of a store: WASI's contexts and tables, the egress gate, the limiter, and the state of the call that runs.

use std::sync::Arc;

use masque_grants::Limits;
use masque_telemetry::trace::SpanParent;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::{WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::files::{MeteredFiles, limited_table};
use super::guest_log::{GuestLog, LogStream, StandardStream};
use super::host_state::HostState;
use super::memory_account::MemoryAccount;
use super::store_limiter::StoreLimiter;
use crate::capability::Call;
use crate::egress::EgressGate;
use crate::scratch::ScratchLease;

/// The largest answer of `wasi:random`. A key needs far less.
const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// Where a guest finds its scratch folder.
const SCRATCH_PATH: &str = "/scratch";

/// The data of a store. It outlives a call where the instance is reused.
pub(crate) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    gate: EgressGate,
    limiter: StoreLimiter,
    memory: MemoryAccount,
    host_state: HostState,
    log: GuestLog,
    scratch: Option<Arc<ScratchLease>>,
    /// The file system of WASI 0.3. It has no folders.
    read_only_filesystem: (WasiFilesystemCtx, ResourceTable),
}

impl Guest {
    /// A guest without arguments, environment or sockets, and without folders except the scratch folder that was granted. It
    /// has clocks, random bytes, and two bounded streams into the log.
    ///
    /// # Errors
    /// The scratch folder can't be opened.
    pub(crate) fn new(
        host_state: HostState,
        gate: EgressGate,
        limits: &Limits,
        scratch: Option<Arc<ScratchLease>>,
    ) -> wasmtime::Result<Self> {
        let log = GuestLog::new(host_state.log.clone());
        let mut wasi = WasiCtx::builder();
        wasi.stdout(LogStream { log: log.clone(), stream: StandardStream::Output })
            .stderr(LogStream { log: log.clone(), stream: StandardStream::Error })
            .max_random_size(MAX_RANDOM_BYTES)
            // `wasi:sockets` would bypass the egress gate. It is refused to everyone, name look-up included.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(lease) = &scratch {
            wasi.preopened_dir(lease.path(), SCRATCH_PATH, FsPerms::ReadWrite)?;
        }
        let wasi = wasi.build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.header_bytes);
        let limiter = StoreLimiter::new(limits, host_state.diagnostics.clone(), host_state.usage.clone());
        let memory = MemoryAccount::new(limits, host_state.diagnostics.clone());
        let read_only_filesystem = (WasiFilesystemCtx::default(), limited_table());
        Ok(Self { wasi, table, http, gate, limiter, memory, host_state, log, scratch, read_only_filesystem })
    }

    /// Prepares the store for its next call.
    pub(crate) fn begin_call(&mut self, host_state: HostState, gate: EgressGate) {
        self.limiter.begin_call(host_state.diagnostics.clone(), host_state.usage.clone());
        self.memory.begin_call(host_state.diagnostics.clone());
        self.log.begin_call(host_state.log.clone());
        self.gate = gate;
        self.host_state = host_state;
    }

    /// Drops the call's capabilities before the store is kept for a later call.
    pub(crate) fn end_call(&mut self) {
        let Call { deadline, trace, .. } = &self.host_state.call;
        self.host_state.call = Call::new(*deadline, SpanParent::new(trace.context(), None));
        self.host_state.nested = None;
        self.gate.end_call();
    }

    pub(crate) fn host_state(&self) -> &HostState {
        &self.host_state
    }

    pub(crate) fn host_state_mut(&mut self) -> &mut HostState {
        &mut self.host_state
    }

    pub(crate) fn limiter(&mut self) -> &mut StoreLimiter {
        &mut self.limiter
    }

    /// Live resources on the host's side.
    pub(crate) fn resources(&mut self) -> usize {
        self.table.iter_mut().count() + self.read_only_filesystem.1.iter_mut().count()
    }

    /// The file system of WASI 0.2.
    pub(crate) fn metered_filesystem(&mut self) -> MeteredFiles<'_> {
        MeteredFiles {
            wasi: WasiFilesystemCtxView { ctx: self.wasi.filesystem(), table: &mut self.table },
            lease: self.scratch.as_ref(),
            diagnostics: &self.host_state.diagnostics,
        }
    }

    /// The file system of WASI 0.3.
    pub(crate) fn read_only_filesystem(&mut self) -> WasiFilesystemCtxView<'_> {
        let (ctx, table) = &mut self.read_only_filesystem;
        WasiFilesystemCtxView { ctx, table }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    /// Every operation of `wasi:http` begins here, in both versions.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let table = self.memory.admit(&mut self.table, self.gate.requests_under_way());
        WasiHttpCtxView { hooks: &mut self.gate, table, ctx: &mut self.http }
    }
}
