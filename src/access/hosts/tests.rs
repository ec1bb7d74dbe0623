//! Names in every state that DNS can be in.

use super::*;

const PBX: &str = "pbx.example.com";

/// What DNS would say. A name that is not in it has no answer, and a name without addresses never
/// answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    known: HashMap<String, Vec<IpAddr>>,
    asked: usize,
}

impl Table {
    pub(crate) fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.0.lock().unwrap().known.insert(name.to_owned(), addresses);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().known.clear();
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    pub(super) async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let answer = {
            let mut table = self.0.lock().unwrap();
            table.asked += 1;
            table.known.get(name).cloned()
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
        match answer {
            Some(addresses) if addresses.is_empty() => std::future::pending().await,
            Some(addresses) => Ok(addresses),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn hosts() -> (Hosts, Table) {
    let table = Table::default();
    (Hosts::new(Resolver::Table(table.clone())), table)
}

fn standing(hosts: &Hosts, names: &[&str], peer: &str) -> Standing {
    hosts.standing(names.iter().copied(), peer.parse().unwrap())
}

async fn refresh(hosts: &Hosts, names: &[&str]) {
    hosts.refresh(names.iter().map(|name| (*name).to_owned()).collect()).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_stands_for_its_addresses() {
    let (hosts, table) = hosts();
    table.set(PBX, &["192.0.2.7", "2001:db8::7"]);
    table.set("other.example", &["198.51.100.1"]);
    refresh(&hosts, &[PBX, "other.example"]).await;
    for (peer, expected) in [
        ("192.0.2.7", Standing::Inside),
        ("::ffff:192.0.2.7", Standing::Inside),
        ("2001:db8::7", Standing::Inside),
        ("192.0.2.8", Standing::Outside),
        ("198.51.100.1", Standing::Outside),
    ] {
        assert_eq!(standing(&hosts, &[PBX], peer), expected, "{peer}");
    }
    assert_eq!(standing(&hosts, &[PBX, "other.example"], "198.51.100.1"), Standing::Inside);
    table.set(PBX, &["192.0.2.8"]);
    refresh(&hosts, &[PBX]).await;
    assert_eq!(standing(&hosts, &[PBX], "192.0.2.7"), Standing::Outside);
    assert_eq!(standing(&hosts, &[PBX], "192.0.2.8"), Standing::Inside);
    assert_eq!(
        standing(&hosts, &["other.example"], "198.51.100.1"),
        Standing::Unknown,
        "forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn while_there_is_no_answer_the_last_good_one_counts_for_an_hour() {
    let (hosts, table) = hosts();
    table.set(PBX, &["192.0.2.7"]);
    refresh(&hosts, &[PBX]).await;
    table.clear();
    for _ in 0..59 {
        tokio::time::advance(INTERVAL).await;
        refresh(&hosts, &[PBX]).await;
        assert_eq!(standing(&hosts, &[PBX], "192.0.2.7"), Standing::Inside);
        assert_eq!(standing(&hosts, &[PBX], "192.0.2.8"), Standing::Outside);
    }
    tokio::time::advance(INTERVAL).await;
    assert_eq!(standing(&hosts, &[PBX], "192.0.2.7"), Standing::Unknown);
    assert_eq!(standing(&hosts, &[PBX], "192.0.2.8"), Standing::Unknown);
    table.set(PBX, &["192.0.2.8"]);
    refresh(&hosts, &[PBX]).await;
    assert_eq!(standing(&hosts, &[PBX], "192.0.2.8"), Standing::Inside);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_known_decides_when_another_is_not() {
    let (hosts, table) = hosts();
    table.set(PBX, &["192.0.2.7"]);
    refresh(&hosts, &[PBX, "lost.example"]).await;
    let names = ["lost.example", PBX];
    assert_eq!(standing(&hosts, &names, "192.0.2.7"), Standing::Inside);
    assert_eq!(standing(&hosts, &names, "192.0.2.8"), Standing::Unknown);
    assert_eq!(standing(&hosts, &[], "192.0.2.8"), Standing::Outside);
}

#[tokio::test(start_paused = true)]
async fn a_new_name_is_asked_for_once_however_many_wait_for_it() {
    let (hosts, table) = hosts();
    table.set(PBX, &["192.0.2.7"]);
    let ask = || hosts.ask([PBX].into_iter());
    tokio::join!(ask(), ask(), ask());
    assert_eq!((table.asked(), standing(&hosts, &[PBX], "192.0.2.7")), (1, Standing::Inside));
    ask().await;
    assert_eq!(table.asked(), 1);

    hosts.ask(["lost.example"].into_iter()).await;
    hosts.ask(["lost.example"].into_iter()).await;
    assert_eq!(table.asked(), 2, "what has no answer is left to the background");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_an_answer_that_does_not_come() {
    let (hosts, table) = hosts();
    table.set("deaf.example", &[]);
    table.set("deaf.example.org", &[]);
    let began = Instant::now();
    hosts.ask(["deaf.example", "deaf.example.org"].into_iter()).await;
    assert!(began.elapsed() <= HURRY + Duration::from_millis(10), "{:?}", began.elapsed());
    let began = Instant::now();
    hosts.ask(["deaf.example", "deaf.example.org"].into_iter()).await;
    assert!(began.elapsed().is_zero(), "once is enough: {:?}", began.elapsed());
    let began = Instant::now();
    refresh(&hosts, &["deaf.example", "deaf.example.org"]).await;
    assert!(began.elapsed() <= PATIENCE + Duration::from_millis(10), "{:?}", began.elapsed());
    assert_eq!(standing(&hosts, &["deaf.example"], "192.0.2.7"), Standing::Unknown);
}

#[tokio::test]
async fn the_operating_system_knows_this_machine_and_no_invalid_name() {
    let hosts = Hosts::new(Resolver::System);
    hosts.ask(["localhost", "callgate.invalid"].into_iter()).await;
    assert_eq!(standing(&hosts, &["localhost"], "127.0.0.1"), Standing::Inside);
    assert_eq!(standing(&hosts, &["callgate.invalid"], "127.0.0.1"), Standing::Unknown);
}
