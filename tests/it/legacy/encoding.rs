//! Parameters: where they stand, how they are spelt, repeated and encoded.

use crate::support::{Answer, Call, Gateway};

/// Asks with a dry run; `@` in the selector is the id of the one call.
async fn dry_run(gateway: &Gateway, call: &Call, selector: &str) -> Answer {
    let selector = selector.replace('@', &call.id);
    gateway.delete(&format!("detail=1&dryRun=1&{selector}")).await
}

/// Checks which selectors are understood, and that every other is a parameter error.
async fn check(selectors: &[(&str, bool)]) {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    for (selector, understood) in selectors {
        let answer = dry_run(&gateway, &call, selector).await;
        let expected = if *understood { (0, "would_send") } else { (-20, "bad_parameter") };
        let found = (answer.code(), answer.word());
        assert_eq!(found, expected, "{selector}: {}", answer.element("ErrorMessage"));
    }
    assert!(gateway.graph.requests().await.is_empty());
}

#[tokio::test]
async fn names_are_read_in_any_case_and_near_misses_are_errors() {
    check(&[
        ("callID=@", true),
        ("CALLID=@", true),
        ("callid=@", true),
        ("call%49D=@", true),
        ("cid=@", true),
        ("Ccdr_Id=@", true),
        ("callID=@&cid=@&ccdr_id=@", true),
        ("callID=@&cid=57dab8b1-894c-409a-b240-bd8beae78896", false),
        ("call_id=@", false),
        ("call-ID=@&callID=@", false),
        ("callID=@&native_id=x", false),
        ("callID=@&platform.call.id=x", false),
        ("callID=@&dry_run=0", false),
        ("callID=@&ext-ension=8856", false),
        ("callID=@&ccdrid=@", false),
        ("callID=@&call_id=", true),
        ("callID=@&callIDs=x&_=1&foo=bar&x", true),
    ])
    .await;
}

#[tokio::test]
async fn an_empty_value_is_none_and_repeats_must_agree() {
    check(&[
        ("callID=&callID=@&callID", true),
        ("callID=@&status=", true),
        ("callID=@&extension=&status=ongoing", true),
        ("callID=@&nativeID=&scope=&reason=", true),
        ("callID=@&callID=@", true),
        ("callID=@&callID=%7B@%7D", true),
        ("callID=@&callID=x", false),
        ("callID=@&status=ongoing&status=ONGOING", true),
        ("callID=@&status=ongoing&status=last", false),
        ("callID=@&status=ongoing&status=ongoing,last", false),
        ("callID=@&reason=a&reason=a", true),
        ("callID=@&reason=a&reason=A", false),
        ("callID=", false),
        ("", false),
    ])
    .await;
}

#[tokio::test]
async fn switches_take_six_words_and_scope_takes_two() {
    check(&[
        ("callID=@&detail=true", false),
        ("callID=@&dryRun=YES", false),
        ("callID=@&scope=leg", true),
        ("callID=@&scope=LEG", true),
        ("callID=@&scope=both", false),
    ])
    .await;
    let gateway = Gateway::start().await;
    for (value, understood) in [
        ("1", true),
        ("true", true),
        ("True", true),
        ("yes", true),
        ("2", false),
        ("on", false),
        ("y", false),
        ("+1", false),
    ] {
        let answer = gateway.delete(&format!("callID=x&dryRun={value}&responseType=JSON")).await;
        assert_eq!(answer.code(), if understood { 2 } else { -20 }, "{value}");
    }
    for (value, detailed) in [("0", false), ("FALSE", false), ("no", false), ("yes", true)] {
        let answer = gateway.delete(&format!("callID=x&detail={value}")).await;
        assert_eq!((answer.code(), answer.word() == "not_found"), (2, detailed), "{value}");
    }
}

#[tokio::test]
async fn the_encoding_is_strict_where_a_parameter_is_read_and_ignored_elsewhere() {
    check(&[
        ("callID=@%", false),
        ("callID=@%4", false),
        ("callID=@%zz", false),
        ("callID=%FF", false),
        ("callID=%C3", false),
        ("callID=%ed%a0%80", false),
        ("callID=@%00", false),
        ("callID=@%0D%0A", false),
        ("callID=@%C2%85", false),
        ("callID=@&reason=%", false),
        ("callID=@&status=%", false),
        ("callID=@&foo=%&%zz=1&user-name=%FF&%=%", true),
        ("callID=@&token=%", true),
        ("callID=@&reason=%C3%BC%20%E2%82%AC+%F0%9F%98%80", true),
        ("&&callID=@&&", true),
    ])
    .await;
}

#[tokio::test]
async fn no_hostile_value_panics_or_is_echoed_or_reaches_graph() {
    let gateway = Gateway::start().await;
    gateway.call("8856").await;
    for value in [
        "%27%20OR%20%271%27=%271",
        "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "..%2F..%2Fusers",
        "a%2Fb%3Fc%23d",
        "%00",
        "a%0Ab",
        "%5D%5D%3E",
        "%EF%BF%BE",
        "%EF%BB%BF",
        "%25s%25n",
        "$%7Bjndi:ldap://x%7D",
    ] {
        for name in ["callID", "platformCallID", "nativeID", "meetingID", "extension", "status"] {
            for style in ["XML", "JSON", "HTML", "TEXT"] {
                let query = format!("{name}={value}&status=last&responseType={style}&detail=1");
                let answer = gateway.delete(&query).await;
                assert!(matches!(answer.code(), 2 | -20), "{query}: {}", answer.body);
                for echo in ["script", "jndi", "users", " OR ", "%s"] {
                    assert!(!answer.body.contains(echo), "{query}: {}", answer.body);
                }
            }
        }
    }
    assert!(gateway.graph.requests().await.is_empty());
}

#[tokio::test]
async fn an_unknown_action_is_echoed_as_far_as_xml_can_hold_it() {
    let gateway = Gateway::start().await;
    for (sent, echoed) in [
        ("Delete%3Cb%3E%22%26%27", "Delete&lt;b&gt;&quot;&amp;'"),
        ("a%00b%0Bc%EF%BF%BFd", "abcd"),
        ("%", ""),
        ("", ""),
        (&"%C3%BC".repeat(70), &"ü".repeat(64)),
    ] {
        let answer = gateway.get(&format!("action={sent}")).await;
        let found = answer.body.split("type=\"").nth(1).unwrap().split("\">").next().unwrap();
        assert_eq!(found.replace("&apos;", "'"), echoed, "{sent}");
    }
}

#[tokio::test]
async fn query_and_form_are_merged_and_other_bodies_are_passed_over() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let key = format!("apiKey={}", gateway.key.secret);
    let by_id = format!("callID={}", call.id);
    let query = format!("action=DeleteCall&{key}&{by_id}&dryRun=1");
    let half = format!("action=DeleteCall&{key}&dryRun=1");
    for (query, form, code) in [
        ("", query.as_str(), 0),
        (query.as_str(), "", 0),
        (half.as_str(), by_id.as_str(), 0),
        (query.as_str(), by_id.as_str(), 0),
        (query.as_str(), "callID=x", -20),
        (half.as_str(), "", -20),
        (query.as_str(), "nativeID=%", -20),
    ] {
        assert_eq!(gateway.post(query, form).await.code(), code, "{query} {form}");
    }
    for (media_type, body, query, code) in [
        ("application/x-www-form-urlencoded; charset=UTF-8", by_id.as_str(), &half, 0),
        ("Application/X-WWW-Form-Urlencoded;x=y", by_id.as_str(), &half, 0),
        ("application/json", "{\"callID\":\"x\"}", &query, 0),
        ("text/xml", "<x/>", &query, 0),
        ("multipart/form-data; boundary=x", "--x--", &query, 0),
        ("text/plain", by_id.as_str(), &half, -20),
    ] {
        let request = format!(
            "POST /verba/api?{query} HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(gateway.ask(request).await.code(), code, "{media_type}");
    }
    // A GET has no form, whatever it says.
    let get = format!(
        "GET /verba/api?{half} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{by_id}",
        by_id.len()
    );
    assert_eq!(gateway.ask(get).await.code(), -20);
}

#[tokio::test]
async fn a_target_that_is_not_escaped_deletes_nothing() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    for raw in ["#zz", "\"", "<", ">", " ", "#&dryRun=1"] {
        let query = gateway.query(&format!("callID={}{raw}&dryRun=1", call.id));
        let answer = gateway.get(&query).await;
        assert_eq!((answer.status, answer.body.len()), (400, 0), "{raw}");
    }
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
}
