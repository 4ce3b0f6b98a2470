//! The data that all calls of one plugin share.

use std::sync::Arc;

use masque_grants::{Grants, Limits};

use crate::counters::PluginCounters;
use crate::egress::{OriginCredentials, UpstreamClient};
use crate::observe::PluginLabels;
use crate::pool::PoolShare;
use crate::sandbox::Sandbox;
use crate::scratch::ScratchFolder;
use crate::secret_matcher::SecretMatcher;
use crate::settings_secrets::settings_secrets;
use crate::warm::WarmPool;

/// A plugin's name, settings, grants and limits, and its parts of the sandbox: client, pool share, folder.
pub(crate) struct PluginProfile {
    /// The name in the configuration.
    pub(crate) name: Arc<str>,
    /// The version in the description of the component.
    pub(crate) version: Arc<str>,
    /// The digest of the component.
    pub(crate) digest: Arc<str>,
    /// Whether its calls count in the metrics: not those of a plugin that is merely tried.
    pub(crate) is_counted: bool,
    /// A JSON object.
    pub(crate) settings: Arc<str>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) limits: Limits,
    /// The permits of the pool that one instance takes.
    pub(crate) weight: u32,
    /// The secrets of its credentials and of the URLs in its settings, which are redacted from its log lines.
    pub(crate) secrets: SecretMatcher,
    /// The credentials of the grants.
    pub(crate) credentials: Arc<OriginCredentials>,
    pub(crate) upstream: UpstreamClient,
    pub(crate) share: PoolShare,
    /// Present if its instances may outlive a call.
    pub(crate) warm_pool: Option<Arc<WarmPool>>,
    /// The scratch folder, and the most bytes that it may hold.
    pub(crate) scratch: Option<(Arc<ScratchFolder>, u64)>,
    pub(crate) counters: Arc<PluginCounters>,
    pub(crate) sandbox: Arc<Sandbox>,
}

/// A component, as far as the profile of a plugin depends on it.
pub(crate) struct ComponentIdentity<'a> {
    pub(crate) digest: &'a str,
    pub(crate) version: &'a str,
    pub(crate) weight: u32,
}

impl PluginProfile {
    pub(crate) fn new(
        sandbox: &Arc<Sandbox>,
        component: &ComponentIdentity<'_>,
        name: String,
        settings: String,
        grants: Grants,
        limits: Limits,
    ) -> Self {
        let scratch = grants
            .scratch
            .and_then(|limit| Some((sandbox.scratch_folders.folder(&name, component.digest)?, limit)));
        Self {
            version: component.version.into(),
            digest: component.digest.into(),
            is_counted: false,
            weight: component.weight,
            secrets: SecretMatcher::new(
                grants
                    .credentials
                    .iter()
                    .flat_map(|credential| credential.secrets())
                    .cloned()
                    .chain(settings_secrets(&settings)),
            ),
            settings: settings.into(),
            credentials: Arc::new(OriginCredentials::new(&grants.credentials)),
            upstream: sandbox.upstreams.client(&name, &grants.networks),
            share: sandbox.pool.share(&name),
            warm_pool: grants.reuse.map(|scope| sandbox.warm_pools.create(scope)),
            scratch,
            counters: Arc::default(),
            sandbox: sandbox.clone(),
            grants: Arc::new(grants),
            limits,
            name: name.into(),
        }
    }

    /// The plugin and version in whose metrics calls count, if they do.
    pub(crate) fn labels(&self) -> Option<PluginLabels> {
        self.is_counted
            .then(|| PluginLabels { plugin: Arc::clone(&self.name), version: Arc::clone(&self.version) })
    }
}
