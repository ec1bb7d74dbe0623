//! What happens while the sender waits.

use super::*;

impl World {
    /// Something becomes known, or time goes by.
    pub(super) async fn change(&mut self) {
        let id = *self.dice.pick(&CALLS);
        let person = *self.dice.pick(&PEOPLE);
        match self.dice.roll(16) {
            0 => self.tell("c", |change| change.state = Some(CallState::Established)).await,
            1 => self.tell("c", |change| change.observed = Some("somebody".to_owned())).await,
            2 if self.dice.roll(4) == 0 => {
                self.tell(id, |change| change.state = Some(CallState::Terminating)).await;
            }
            3 if self.dice.roll(4) == 0 => self.tell(id, |change| change.deleted = true).await,
            4 | 5 => {
                let left = RosterChange::Left(person.to_owned());
                self.tell(id, |change| change.roster = Some(left)).await;
            }
            6 => {
                let mut people = vec![participant(person), participant("me"), participant("p9")];
                if self.dice.roll(2) == 0 {
                    // As it was told before apps were kept, or without them.
                    people[1].app_id = None;
                }
                self.tell(id, |change| change.roster = Some(RosterChange::Whole(people))).await;
            }
            7 if self.dice.roll(4) == 0 => {
                self.tell(id, |change| change.my_participant_id = Some("me".to_owned())).await;
            }
            8 if self.dice.roll(3) == 0 => {
                let change = CallChange::of(GraphCallId(id.to_owned()));
                self.apply(change, Some("other")).await;
            }
            9 => {
                self.calls += 1;
                self.there.call(&format!("further-{}", self.calls), "100").await;
            }
            10 => self.there.by_hand(&format!(
                "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
                 SELECT 'hold-{id}', tenant, 'call', '{id}', 'auditor', 1 FROM tenants \
                 WHERE NOT EXISTS (SELECT 1 FROM holds WHERE hold_id = 'hold-{id}')"
            )),
            11 => self.there.by_hand("DELETE FROM holds"),
            12 => self.clock.advance(Duration::from_millis(1_500)),
            13 => self.clock.advance(Duration::from_secs(6)),
            14 if self.dice.roll(10) == 0 => self.clock.advance(DEADLINE),
            14 => self.clock.advance(Duration::from_mins(2)),
            15 => self.withdraw().await,
            _ => {}
        }
    }

    async fn withdraw(&mut self) {
        let query = "SELECT coalesce((SELECT deletion_id FROM deletions WHERE state = 'open' \
                     ORDER BY deletion DESC LIMIT 1), '')";
        if let Ok(open) = self.there.look::<String>(query).parse() {
            self.journal.withdraw(open).await.unwrap();
        }
    }

    /// Graph tells of a call.
    pub(super) async fn tell(&mut self, id: &str, what: impl FnOnce(&mut CallChange)) {
        let mut change = CallChange::of(GraphCallId(id.to_owned()));
        what(&mut change);
        self.apply(change, None).await;
    }

    async fn apply(&mut self, change: CallChange, app_id: Option<&str>) {
        let news = CallNews {
            tenant: TenantId::new(TENANT),
            app_id: app_id.map(str::to_owned),
            changes: vec![change],
            now: self.clock.moment(),
        };
        let turn = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        self.there.store.apply(news, turn).await.unwrap();
    }
}

/// Somebody in a roster; `me` is our own place.
pub(super) fn participant(id: &str) -> Participant {
    Participant {
        participant_id: id.to_owned(),
        raw: Some(id.to_owned()),
        normalised: Number::parse(id).map(|number| number.normalised).ok(),
        user_id: Some(id.to_owned()),
        display_name: None,
        app_id: (id == "me").then(|| CLIENT.to_owned()),
        removed: false,
        sequence: None,
    }
}
