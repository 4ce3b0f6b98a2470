//! Makes connections: to one server, to the one that the sentinels name, or to a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisResult, TlsCertificates, cmd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::address::{Credentials, Node, Topology};
use crate::inspection::{Mode, inspect_server};
use crate::link::Link;
use crate::open_error::RedisOpenError;
use crate::options::RedisOptions;
use crate::refusal::Refusal;

/// How long one server may take to be connected to. A host that looks for the primary among several sentinels and servers
/// needs it several times.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Is called with each message of a channel, and when the connection is lost. Does not block.
pub(crate) type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// Connects as the options say.
pub(crate) async fn connect(options: &RedisOptions, on_push: OnPush) -> Result<Link, Refusal> {
    if options.is_tls() {
        choose_cryptography();
    }
    match &options.address.topology {
        Topology::Server(node) => connect_server(options, node, on_push).await,
        Topology::Sentinel { sentinels, service, credentials } => {
            let node = find_primary(options, sentinels, service, credentials).await?;
            connect_server(options, &node, on_push).await
        }
        Topology::Cluster(nodes) => connect_cluster(options, nodes, on_push).await,
    }
}

async fn connect_server(options: &RedisOptions, node: &Node, on_push: OnPush) -> Result<Link, Refusal> {
    let config = config().set_push_sender(forward(on_push));
    let connection =
        connect_node(options, node, &options.address.credentials, options.address.database, &config)
            .await
            .map_err(|error| Refusal::of(&error, &node.to_string()))?;
    let link = Link::Server(connection);
    inspect_server(&link, node, Mode::Standalone).await?;
    Ok(link)
}

async fn connect_cluster(options: &RedisOptions, nodes: &[Node], on_push: OnPush) -> Result<Link, Refusal> {
    // The errors of the cluster client do not say why a node refuses, so one node is asked apart.
    let mut refusal = None;
    for node in nodes {
        match inspect_node(options, node).await {
            Ok(()) => {
                refusal = None;
                break;
            }
            Err(Refusal::Lasting(error)) => return Err(Refusal::Lasting(error)),
            Err(transient) => refusal = Some(transient),
        }
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    cluster(options, nodes, on_push).await.map_err(|error| Refusal::of(&error, &options.target()))
}

async fn inspect_node(options: &RedisOptions, node: &Node) -> Result<(), Refusal> {
    let connection = connect_node(options, node, &options.address.credentials, 0, &config())
        .await
        .map_err(|error| Refusal::of(&error, &node.to_string()))?;
    inspect_server(&Link::Server(connection), node, Mode::Cluster).await
}

async fn cluster(options: &RedisOptions, nodes: &[Node], on_push: OnPush) -> RedisResult<Link> {
    let infos = nodes
        .iter()
        .map(|node| node_info(options, node, &options.address.credentials, 0))
        .collect::<RedisResult<Vec<_>>>()?;
    let mut builder = ClusterClientBuilder::new(infos)
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(CONNECT_TIMEOUT)
        // An operation has a quarter of a second for all of them.
        .retries(3)
        .min_retry_wait(5)
        .max_retry_wait(40)
        .push_sender(forward(on_push));
    if options.is_tls() {
        builder = builder.certs(certificates(options));
    }
    Ok(Link::Cluster(builder.build()?.get_async_connection().await?))
}

/// Asks the sentinels, one after the other, for the server that is the primary now.
async fn find_primary(
    options: &RedisOptions,
    sentinels: &[Node],
    service: &str,
    credentials: &Credentials,
) -> Result<Node, Refusal> {
    let mut refusal = Refusal::Transient("no sentinel is named".into());
    for sentinel in sentinels {
        match ask_sentinel(options, sentinel, service, credentials).await {
            Ok(node) => return Ok(node),
            // Another sentinel may know more, and one that is down must not hide what is wrong.
            Err(Refusal::Transient(reason)) if matches!(refusal, Refusal::Transient(_)) => {
                refusal = Refusal::Transient(format!("the sentinel at {sentinel}: {reason}"));
            }
            Err(Refusal::Transient(_)) => {}
            Err(lasting) => refusal = lasting,
        }
    }
    Err(refusal)
}

async fn ask_sentinel(
    options: &RedisOptions,
    sentinel: &Node,
    service: &str,
    credentials: &Credentials,
) -> Result<Node, Refusal> {
    let target = sentinel.to_string();
    let connection = connect_node(options, sentinel, credentials, 0, &config())
        .await
        .map_err(|error| Refusal::of(&error, &target))?;
    let link = Link::Server(connection);
    inspect_server(&link, sentinel, Mode::Sentinel).await?;
    let mut command = cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    match link.query(&command).await {
        Ok(Some((host, port))) => Ok(Node { host, port }),
        Ok(None) => Err(Refusal::Lasting(RedisOpenError::NoService { target, service: service.to_owned() })),
        Err(error) => Err(Refusal::of(&error, &target)),
    }
}

async fn connect_node(
    options: &RedisOptions,
    node: &Node,
    credentials: &Credentials,
    database: i64,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let info = node_info(options, node, credentials, database)?;
    let client = if options.is_tls() {
        Client::build_with_tls(info, certificates(options))?
    } else {
        Client::open(info)?
    };
    client.get_multiplexed_async_connection_with_config(config).await
}

fn node_info(
    options: &RedisOptions,
    node: &Node,
    credentials: &Credentials,
    database: i64,
) -> RedisResult<ConnectionInfo> {
    let (host, port) = (node.host.clone(), node.port);
    let address = if options.is_tls() {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    // Naming the library needs a right of its own, and nobody needs the name.
    let mut redis = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name()
        .set_db(database);
    if let Some(user) = &credentials.user {
        redis = redis.set_username(user);
    }
    if let Some(password) = &credentials.password {
        redis = redis.set_password(password);
    }
    Ok(address.into_connection_info()?.set_redis_settings(redis))
}

/// Chooses the cryptography of TLS for this process, unless it was chosen before. The client of Redis takes no choice of its
/// own, and panics where the features of rustls in this build name none or several.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // It fails if another thread has chosen meanwhile, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT))
}

fn certificates(options: &RedisOptions) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: options.root_certificates.clone() }
}

fn forward(on_push: OnPush) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync {
    move |push| {
        on_push(push);
        Ok(())
    }
}
