//! What the brakes let through, and what they forget.

use proptest::prelude::*;

use super::*;

const HOME: &str = "192.0.2.7";

fn at<'a>(peer: &str, login: &'a str) -> Attempt<'a> {
    Attempt { peer: peer.parse().unwrap(), key_row: 1, login }
}

fn stranger(number: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + number).to_be_bytes())
}

/// Tries and fails; gives what it was told when nothing was looked at.
fn fails(brakes: &Brakes, attempt: &Attempt<'_>) -> Option<Braked> {
    match brakes.begin_now(attempt) {
        Ok(charge) => {
            drop(charge);
            None
        }
        Err(refused) => Some(refused),
    }
}

fn after(seconds: u64, by_others: bool) -> Braked {
    Braked { retry_after: Duration::from_secs(seconds), by_others, under_way: false }
}

#[tokio::test(start_paused = true)]
async fn a_place_has_ten_guesses_and_one_more_each_six_seconds() {
    let brakes = Brakes::new(Policy::default());
    let jane = at(HOME, "jane");
    for _ in 0..10 {
        assert_eq!(fails(&brakes, &jane), None);
    }
    assert_eq!(fails(&brakes, &jane), Some(after(6, false)));
    assert_eq!(fails(&brakes, &at(HOME, "JANE")), Some(after(6, false)), "logins are without case");
    assert_eq!(fails(&brakes, &at("::ffff:192.0.2.7", "jane")), Some(after(6, false)));
    assert_eq!(fails(&brakes, &at(HOME, "john")), None);
    tokio::time::advance(Duration::from_millis(5500)).await;
    let soon = Braked { retry_after: Duration::from_millis(500), ..after(0, false) };
    assert_eq!(fails(&brakes, &jane), Some(soon), "as it is, not rounded");
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(fails(&brakes, &jane), None);
    assert_eq!(fails(&brakes, &jane), Some(after(6, false)));
}

#[tokio::test(start_paused = true)]
async fn an_address_and_a_login_have_limits_of_their_own() {
    let brakes = Brakes::new(Policy::default());
    for number in 0..20 {
        assert_eq!(fails(&brakes, &at(HOME, &format!("user{number}"))), None);
    }
    assert_eq!(fails(&brakes, &at(HOME, "jane")), Some(after(3, true)));
    assert_eq!(fails(&brakes, &at("192.0.2.8", "jane")), None);
    for number in 0..19 {
        let attempt = Attempt { peer: stranger(number), ..at(HOME, "jane") };
        assert_eq!(fails(&brakes, &attempt), None);
    }
    assert_eq!(fails(&brakes, &at("192.0.2.9", "jane")), Some(after(3, true)));
    let other_key = Attempt { key_row: 2, ..at("192.0.2.9", "jane") };
    assert_eq!(fails(&brakes, &other_key), None);
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_network_is_one_address() {
    let brakes = Brakes::new(Policy::default());
    for number in 0..10 {
        assert_eq!(fails(&brakes, &at(&format!("2001:db8::{number}"), "jane")), None);
    }
    let neighbour = at("2001:db8::ffff:1", "jane");
    assert_eq!(fails(&brakes, &neighbour), Some(after(6, true)));
    brakes.remember(&neighbour);
    assert_eq!(fails(&brakes, &neighbour), None, "whoever is known is not their network");
    assert_eq!(fails(&brakes, &at("2001:db8:0:1::1", "jane")), None);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_fail_is_given_back() {
    let brakes = Brakes::new(Policy::default());
    for _ in 0..1000 {
        let charge = brakes.begin_now(&at(HOME, "jane")).unwrap();
        brakes.refund(charge);
    }
    assert!(brakes.state().buckets.is_empty());
    for _ in 0..9 {
        assert_eq!(fails(&brakes, &at(HOME, "jane")), None);
    }
    let charge = brakes.begin_now(&at(HOME, "jane")).unwrap();
    let refused = fails(&brakes, &at(HOME, "jane")).unwrap();
    assert!(refused.under_way, "paid for before it is known");
    brakes.refund(charge);
    assert_eq!(fails(&brakes, &at(HOME, "jane")), None);
}

/// So many attempts at once, each of which takes a while; gives how many were looked at.
async fn at_once(brakes: &Brakes, count: usize, is_right: bool) -> usize {
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..count {
        let brakes = brakes.clone();
        attempts.spawn(async move {
            let Ok(charge) = brakes.begin(&at(HOME, "jane")).await else { return 0 };
            tokio::time::sleep(Duration::from_millis(20)).await;
            if is_right {
                brakes.refund(charge);
            }
            1
        });
    }
    attempts.join_all().await.into_iter().sum()
}

#[tokio::test(start_paused = true)]
async fn right_passwords_wait_for_each_other_and_wrong_ones_gain_nothing_by_it() {
    let brakes = Brakes::new(Policy::default());
    assert_eq!(at_once(&brakes, 70, true).await, 70);
    assert_eq!(at_once(&brakes, 80, true).await, 74, "so many wait and no more");
    let state = || brakes.state();
    assert!(state().buckets.is_empty() && state().under_way.is_empty());
    assert_eq!(at_once(&brakes, 70, false).await, 10);
    assert_eq!(at_once(&brakes, 70, true).await, 0);
    assert!(state().under_way.is_empty());
}

#[tokio::test(start_paused = true)]
async fn strangers_brake_no_place_that_is_known_and_its_own_guesses_do() {
    let brakes = Brakes::new(Policy::default());
    let jane = at(HOME, "jane");
    for number in 0..10_000 {
        drop(brakes.begin_now(&Attempt { peer: stranger(number), ..jane }));
        drop(brakes.begin_now(&at(HOME, &format!("user{number}"))));
    }
    assert_eq!(fails(&brakes, &jane), Some(after(3, true)));
    brakes.remember(&jane);
    for _ in 0..10 {
        assert_eq!(fails(&brakes, &jane), None);
    }
    assert_eq!(fails(&brakes, &jane), Some(after(6, false)));
    brakes.remember(&Attempt { key_row: 2, ..jane });
    assert_eq!(
        fails(&brakes, &Attempt { key_row: 2, ..jane }),
        None,
        "another key is another place"
    );
    tokio::time::advance(FAMILIAR).await;
    for number in 0..20 {
        drop(brakes.begin_now(&at(HOME, &format!("user{number}"))));
    }
    assert_eq!(fails(&brakes, &jane), Some(after(3, true)), "known for thirty days only");
}

#[tokio::test(start_paused = true)]
async fn bad_keys_are_counted_by_address() {
    let brakes = Brakes::new(Policy::default());
    let home = HOME.parse().unwrap();
    for _ in 0..20 {
        assert!(!brakes.bad_key(home));
    }
    assert!(brakes.bad_key(home));
    assert!(!brakes.bad_key(stranger(1)));
    assert_eq!(fails(&brakes, &at(HOME, "jane")), None, "bad keys brake no login");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!([brakes.bad_key(home), brakes.bad_key(home)], [false, false]);
    assert!(brakes.bad_key(home));
}

#[tokio::test(start_paused = true)]
async fn the_fullest_stay_when_there_is_no_room() {
    let brakes = Brakes::new(Policy { most: 100, ..Policy::default() });
    let home = HOME.parse().unwrap();
    while !brakes.bad_key(home) {}
    for number in 0..10_000 {
        brakes.bad_key(stranger(number));
        brakes.remember(&at(HOME, &number.to_string()));
        let state = brakes.state();
        assert!(state.buckets.len() <= 100 && state.familiar.len() <= 100);
    }
    assert!(brakes.bad_key(home));
}

fn policy() -> impl Strategy<Value = Policy> {
    let limit = || {
        (1_u32..20, 1_u64..10_000)
            .prop_map(|(burst, every)| Limit { burst, every: Duration::from_millis(every) })
    };
    (limit(), limit(), limit(), limit()).prop_map(|(address, login, pair, bad_keys)| Policy {
        address,
        login,
        pair,
        bad_keys,
        most: 10,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_more_is_let_through_than_the_burst_and_the_rate_allow(
        policy in policy(),
        pauses in prop::collection::vec(0_u64..5_000, 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let brakes = Brakes::new(policy);
            let (mut admitted, mut passed) = (0_u32, Duration::ZERO);
            for pause in pauses {
                let pause = Duration::from_millis(pause);
                tokio::time::advance(pause).await;
                passed += pause;
                if let Some(refused) = fails(&brakes, &at(HOME, "jane")) {
                    prop_assert!(!refused.retry_after.is_zero());
                } else {
                    admitted += 1;
                }
                for limit in [policy.address, policy.login, policy.pair] {
                    let earned = passed.as_millis() / limit.every.as_millis();
                    prop_assert!(u128::from(admitted) <= u128::from(limit.burst) + earned);
                }
            }
            tokio::time::advance(Duration::from_secs(10_000)).await;
            prop_assert_eq!(fails(&brakes, &at(HOME, "jane")), None);
            Ok(())
        })?;
    }

    #[test]
    fn memory_is_bounded_and_whoever_is_told_when_to_come_is_let_through_then(
        policy in policy(),
        names in prop::collection::vec((0_u32..30, 0_u32..30), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let brakes = Brakes::new(policy);
            for (peer, login) in names {
                let login = login.to_string();
                let attempt = Attempt { peer: stranger(peer), ..at(HOME, &login) };
                if let Some(refused) = fails(&brakes, &attempt) {
                    tokio::time::advance(refused.retry_after).await;
                    prop_assert_eq!(fails(&brakes, &attempt), None);
                }
                prop_assert!(brakes.state().buckets.len() <= policy.most);
            }
            Ok(())
        })?;
    }
}
