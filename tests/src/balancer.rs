//! A load balancer in front of several hosts: each connection goes to the next host that is ready. It asks `/readyz` as
//! real ones do, and sends nothing a second time: a connection that a host breaks is broken for the client too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::wait::eventually;

/// How often each host is asked whether it is ready. `drain.delay` of the hosts has to be longer.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// A running balancer. Dropping it closes its port.
pub struct Balancer {
    address: String,
    hosts: Arc<Hosts>,
    tasks: Vec<JoinHandle<()>>,
}

struct Hosts {
    /// The address of each host, and whether it was ready when it was last asked.
    all: Mutex<Vec<(String, bool)>>,
    next: AtomicUsize,
}

impl Balancer {
    /// Listens on a free port, in front of hosts with these addresses (`127.0.0.1:PORT`).
    pub async fn start(addresses: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let all = addresses.iter().map(|&address| (address.to_owned(), false)).collect();
        let hosts = Arc::new(Hosts { all: Mutex::new(all), next: AtomicUsize::new(0) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&hosts)));
        let probing = tokio::spawn(probe(Arc::clone(&hosts)));
        let balancer = Self { address, hosts, tasks: vec![accepting, probing] };
        balancer.wait_for(addresses.len()).await;
        balancer
    }

    /// Makes a client that reaches the hosts through the balancer.
    pub fn client(&self) -> Client {
        Client::http1(&self.address, None)
    }

    /// Names the new address of a host that was restarted.
    pub fn replace(&self, index: usize, address: &str) {
        self.hosts.all.lock().unwrap()[index] = (address.to_owned(), false);
    }

    /// Waits until so many hosts are ready.
    pub async fn wait_for(&self, ready: usize) {
        eventually("the balancer to see the hosts", || async {
            let all = self.hosts.all.lock().unwrap();
            (all.iter().filter(|(_, is_ready)| *is_ready).count() >= ready).then_some(())
        })
        .await;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Hosts {
    /// The hosts that are ready, the next in turn first.
    fn in_turn(&self) -> Vec<String> {
        let mut ready: Vec<_> = {
            let all = self.all.lock().unwrap();
            all.iter().filter(|(_, is_ready)| *is_ready).map(|(address, _)| address.clone()).collect()
        };
        if !ready.is_empty() {
            let first = self.next.fetch_add(1, Ordering::Relaxed) % ready.len();
            ready.rotate_left(first);
        }
        ready
    }

    fn note(&self, address: &str, is_ready: bool) {
        let mut all = self.all.lock().unwrap();
        for host in all.iter_mut().filter(|(known, _)| known == address) {
            host.1 = is_ready;
        }
    }
}

async fn accept(listener: TcpListener, hosts: Arc<Hosts>) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let hosts = Arc::clone(&hosts);
        tokio::spawn(async move {
            for address in hosts.in_turn() {
                // Nothing was sent to a host that takes no connection, so the next one can be asked.
                let Ok(mut host) = TcpStream::connect(&address).await else {
                    hosts.note(&address, false);
                    continue;
                };
                let _broken = copy_bidirectional(&mut client, &mut host).await;
                return;
            }
        });
    }
}

async fn probe(hosts: Arc<Hosts>) {
    loop {
        let addresses: Vec<_> =
            hosts.all.lock().unwrap().iter().map(|(address, _)| address.clone()).collect();
        for address in addresses {
            let asked = Client::http1(&address, None).get("/readyz").try_send();
            let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
            hosts.note(&address, matches!(answer, Ok(Ok(reply)) if reply.status == 200));
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}
