//! Who is logged in, who is braked, and what is left of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_login_opens_a_session_of_its_key_and_user_and_is_recorded_with_it() {
    let fixture = Fixture::new().await;
    fixture.by_hand("UPDATE keys SET requires_token = 1");
    let there = There::new(&fixture).await;
    there.make_user().await;
    let made = there.log_in("JANE", "hunter22", PEER).await.unwrap();
    assert_eq!(made.expires_at, NOW + LIFETIME);
    let recorded: String =
        fixture.look("SELECT CAST(canonical AS TEXT) FROM audit ORDER BY position DESC LIMIT 1");
    assert!(recorded.contains(&made.id.to_string()), "{recorded}");

    there.access.refresh().await.unwrap();
    let checked = there.check(API_KEY, PEER).await.unwrap();
    let acts = there.access.check_token(checked, Token::Sent(&made.token), false, NOW).await;
    let actor = acts.unwrap();
    assert_eq!(actor.session().unwrap().login.as_deref(), Some("Jane"));
    assert!(there.access.release(&actor, entry("ReleaseToken", NOW)).await.unwrap());
    assert!(!there.access.release(&actor, entry("ReleaseToken", NOW)).await.unwrap());

    let another = there.log_in("Jane", "hunter22", PEER).await.unwrap();
    let (tenant, entry) = (TenantId::new(TENANT), entry("users disable", NOW));
    fixture.store.set_user_disabled(tenant, "jane".to_owned(), true, entry).await.unwrap();
    there.access.refresh().await.unwrap();
    let checked = there.check(API_KEY, PEER).await.unwrap();
    let acts = there.access.check_token(checked, Token::Sent(&another.token), false, NOW).await;
    let Err(AccessError::Token(refusal)) = acts else { panic!("{acts:?}") };
    assert_eq!(refusal.cause, "disabled");
    let session = refusal.session.unwrap();
    assert_eq!((session.id, session.login.as_deref()), (another.id, Some("Jane")));
    let refused = there.log_in("Jane", "hunter22", PEER).await;
    assert!(matches!(refused, Err(LoginError::Wrong("disabled"))), "{refused:?}");
}

#[tokio::test]
async fn a_key_that_was_revoked_meanwhile_opens_no_session() {
    let fixture = Fixture::new().await;
    let there = There::new(&fixture).await;
    there.make_user().await;
    let checked = there.check(API_KEY, PEER).await.unwrap();
    fixture.revoke().await;
    let entry = entry("RequestToken", NOW);
    let opened = there.access.log_in(&checked, &login("jane", "hunter22"), false, entry).await;
    assert!(matches!(opened, Err(LoginError::AccessChanged)), "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn guesses_are_braked_before_they_are_looked_at_and_successes_cost_nothing() {
    let fixture = Fixture::new().await;
    let there = There::new(&fixture).await;
    there.make_user().await;
    for _ in 0..12 {
        there.log_in("jane", "hunter22", PEER).await.unwrap();
    }
    for _ in 0..10 {
        let wrong = there.log_in("jane", "hunter23", "192.0.2.8").await;
        assert!(matches!(wrong, Err(LoginError::Wrong("wrong_password"))), "{wrong:?}");
    }
    let braked = there.log_in("jane", "hunter22", "192.0.2.8").await;
    let Err(LoginError::Braked { retry_after }) = braked else { panic!("{braked:?}") };
    assert!(!retry_after.is_zero() && retry_after.as_secs() <= 6, "{retry_after:?}");
    there.log_in("jane", "hunter22", PEER).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_an_earlier_process_knew_is_not_braked_by_strangers() {
    let fixture = Fixture::new().await;
    let earlier = There::new(&fixture).await;
    earlier.make_user().await;
    earlier.log_in("jane", "hunter22", PEER).await.unwrap();
    earlier.keys.write_uses().await;

    let there = There::new(&fixture).await;
    for number in 0..20 {
        let wrong = there.log_in("jane", "wrong one", &format!("198.51.100.{number}")).await;
        assert!(matches!(wrong, Err(LoginError::Wrong(_))), "{wrong:?}");
    }
    let elsewhere = there.log_in("jane", "hunter22", "192.0.2.8").await;
    assert!(matches!(elsewhere, Err(LoginError::Braked { .. })), "{elsewhere:?}");
    there.log_in("Jane", "hunter22", PEER).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn guesses_with_another_key_do_not_brake_a_place_that_is_known() {
    let fixture = Fixture::new().await;
    fixture.make_key(OTHER_KEY).await;
    let there = There::new(&fixture).await;
    there.make_user().await;
    there.log_in("jane", "hunter22", PEER).await.unwrap();
    for _ in 0..10 {
        let wrong = there.log_in_with(OTHER_KEY, "jane", "wrong one", PEER).await;
        assert!(matches!(wrong, Err(LoginError::Wrong(_))), "{wrong:?}");
    }
    let braked = there.log_in_with(OTHER_KEY, "jane", "wrong one", PEER).await;
    assert!(matches!(braked, Err(LoginError::Braked { .. })), "{braked:?}");
    there.log_in("jane", "hunter22", PEER).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_login_that_fails_leaves_no_trace_but_the_count_of_query_passwords() {
    let fixture = Fixture::new().await;
    let there = There::new(&fixture).await;
    there.make_user().await;
    let mut braked = 0;
    for _ in 0..14 {
        let checked = there.check(API_KEY, PEER).await.unwrap();
        let entry = entry("RequestToken", NOW);
        let wrong = there.access.log_in(&checked, &login("jane", "wrong one"), true, entry).await;
        braked += u32::from(matches!(wrong, Err(LoginError::Braked { .. })));
    }
    there.keys.write_uses().await;
    let count = |sql: &str| fixture.look::<i64>(sql);
    assert_eq!(braked, 4);
    assert_eq!(count("SELECT query_password_uses FROM keys"), 14, "those too");
    assert_eq!(count("SELECT count(*) FROM key_uses"), 0);
    assert_eq!(count("SELECT count(last_used_at) FROM keys"), 0);
}

#[tokio::test]
async fn strangers_that_wait_in_a_crowd_lock_nobody_out_who_is_known() {
    let fixture = Fixture::new().await;
    let earlier = There::new(&fixture).await;
    earlier.make_user().await;
    earlier.log_in("jane", "hunter22", PEER).await.unwrap();
    earlier.keys.write_uses().await;
    let later = There::new(&fixture).await;
    for there in [earlier, later] {
        let _crowd = there.users.crowd();
        let elsewhere = there.log_in("jane", "hunter22", "192.0.2.8").await;
        assert!(matches!(elsewhere, Err(LoginError::Braked { .. })), "{elsewhere:?}");
        there.log_in("Jane", "hunter22", PEER).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_whose_hash_cannot_be_used_is_braked_like_a_wrong_password() {
    let fixture = Fixture::new().await;
    let there = There::new(&fixture).await;
    there.make_user().await;
    fixture.by_hand("UPDATE users SET password_hash = 'none'");
    for _ in 0..10 {
        let wrong = there.log_in("jane", "hunter22", PEER).await;
        assert!(matches!(wrong, Err(LoginError::Wrong("unusable_hash"))), "{wrong:?}");
    }
    let braked = there.log_in("jane", "hunter22", PEER).await;
    assert!(matches!(braked, Err(LoginError::Braked { .. })), "{braked:?}");
}
