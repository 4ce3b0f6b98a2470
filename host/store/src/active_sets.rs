//! The active set as the hosts of one database share it: numbered generations, the components that they name, and what each
//! host says of them.
//!
//! A generation is **published**: every host prepares it, and reports that it has, or why it can't. It becomes **active** once
//! all hosts that live are prepared, or is **refused** when its time is over. The next active one **replaces** it. Only one is
//! published at a time.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::StoreError;

/// The size of the pieces in which components are kept; the last one may be smaller.
pub const COMPONENT_CHUNK_BYTES: usize = 1 << 20;
/// The size of the largest component.
pub const MAX_STORED_COMPONENT_BYTES: u64 = 64 << 20;

/// The generations of the active set, in a database that several hosts use.
#[async_trait]
pub trait ActiveSets: Send + Sync {
    /// Makes the host one of those that a generation waits for while they live. To be called before it prepares its first
    /// one; can be repeated.
    async fn join_sets(&self, host: SetHost) -> Result<(), StoreError>;

    /// No generation waits for the host any more, though it may live on to end its turns.
    async fn leave_sets(&self, host: Uuid) -> Result<(), StoreError>;

    /// Which generations there are, and whether they wait for `host`. Every host asks once a second. A host that nobody heard of
    /// for over a day is forgotten with the next generation, and has to join again.
    async fn set_state(&self, host: Uuid) -> Result<SetState, StoreError>;

    /// A generation, or `None` if there is none of this number, or it is kept no longer.
    async fn generation(&self, number: u64) -> Result<Option<Generation>, StoreError>;

    /// Publishes a generation, if what its author found is still so. All its components have been added before.
    async fn publish_generation(&self, generation: NewGeneration) -> Result<PublishOutcome, StoreError>;

    /// Notes whether a host has prepared a published generation. The last report of a host counts; one about a generation
    /// that is not published any more is dropped.
    async fn report_preparation(&self, report: Preparation) -> Result<(), StoreError>;

    /// Activates a published generation if all hosts that live have prepared it, and refuses it if its time is over and they
    /// have not. Every host that has reported asks until it is decided.
    async fn decide_generation(&self, number: u64, by: &SetHost) -> Result<Decision, StoreError>;

    /// Those of these components that are not kept whole.
    async fn missing_components(&self, digests: &[String]) -> Result<Vec<String>, StoreError>;

    /// Adds a piece of a component. Can be repeated. A component that no generation names is kept for an hour.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the piece or the component is too large.
    async fn add_component_chunk(&self, chunk: ComponentChunk) -> Result<(), StoreError>;

    /// A piece of a component; `None` behind the last one. Whoever reads a component compares its digest.
    async fn component_chunk(&self, digest: &str, index: u32) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A host, as the others and operators know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHost {
    /// Its id, by which it renews its leases.
    pub id: Uuid,
    /// What operators call it.
    pub name: String,
}

/// Which generations there are, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetState {
    /// The newest one, whatever became of it; 0 if there was none yet.
    pub newest: u64,
    /// The one in effect.
    pub active: Option<u64>,
    /// The one that hosts prepare.
    pub published: Option<u64>,
    /// Whether the host that asks has joined, so that generations wait for it.
    pub has_joined: bool,
}

/// What became of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerationStatus {
    /// Hosts prepare it.
    Published,
    /// It is in effect.
    Active,
    /// It was in effect.
    Replaced,
    /// It never was in effect. One line for each host that had not prepared it: the host, and why.
    Refused(String),
}

/// A generation as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number, higher than those of all before.
    pub number: u64,
    /// The revision that its author gave it.
    pub revision: u64,
    /// The digest of its content.
    pub digest: String,
    /// What it consists of.
    pub content: String,
    /// What became of it.
    pub status: GenerationStatus,
    /// The host that published it.
    pub published_by: String,
}

/// A generation that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGeneration {
    /// The newest generation that its author knows.
    pub base: u64,
    /// Rises with every generation. The same revision never has two contents.
    pub revision: u64,
    /// The digest of the content.
    pub digest: String,
    /// What it consists of.
    pub content: String,
    /// The digests of its components that are kept here.
    pub components: Vec<String>,
    /// How long hosts may take to prepare it.
    pub prepare_within: Duration,
    /// The host that publishes it.
    pub by: SetHost,
}

/// What became of an attempt to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is published under this number.
    Published(u64),
    /// The generation of this number, published or active, has this revision and this content.
    Unchanged(u64),
    /// The generation of this number has this revision and another content.
    OtherContent(u64),
    /// The generation that is published or active has a higher revision: this one.
    Lower(u64),
    /// The generation of this number is published, and not decided yet.
    Busy(u64),
    /// There is a newer generation than the base: this one.
    Outdated(u64),
    /// A component is not kept whole.
    MissingComponent(String),
}

/// What a host says of a published generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// The number of the generation.
    pub generation: u64,
    /// The host.
    pub host: Uuid,
    /// Why it can't prepare it. `None`: it is prepared.
    pub problem: Option<String>,
}

/// What is known of a published generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is not decided. One line for each host that it waits for: the host, and why.
    Waiting(String),
    /// It is decided, by this call or before. `None`: it is kept no longer.
    Decided(Option<GenerationStatus>),
}

/// A piece of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentChunk {
    /// The digest of the component, as `sha256:…`.
    pub digest: String,
    /// The size of the whole component.
    pub component_bytes: u64,
    /// The number of the piece, from 0. All but the last have [`COMPONENT_CHUNK_BYTES`].
    pub index: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}
