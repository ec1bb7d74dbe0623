//! The operators: holds, pauses, another try, an end before the beginning, keys that count no longer.

use std::collections::BTreeSet;

use super::graph::apps;
use super::{Forgets, World, checks};
use crate::id::TenantId;
use crate::store::fixture::{DEADLINE, entry};
use crate::store::operations::{Change, DeletionFilter, Intervention, Judged, Manner};
use crate::store::pause::{Paused, Resumed};
use crate::store::sqlite::deletions::read_row;
use crate::store::sqlite::{filtered, keys, operations, pause};

/// A hold that stands, or stood.
#[derive(Debug)]
pub(super) struct Hold {
    tenant: usize,
    /// The call; none for all of the tenant's.
    line: Option<usize>,
    stands: bool,
}

impl Hold {
    pub(super) fn covers(&self, tenant: usize, line: usize) -> bool {
        self.stands && self.tenant == tenant && self.line.is_none_or(|held| held == line)
    }
}

impl World<'_> {
    pub(super) fn an_operator_holds_or_pauses(&mut self) {
        let tenant = self.dice.roll(2);
        match self.dice.roll(6) {
            0 if self.dice.one_in(2) => self.hold(tenant, None),
            0 | 1 => {
                let line = self.dice.roll(self.lines.len());
                self.hold(self.lines[line].tenant, Some(line));
            }
            2 => {
                let is_all = self.dice.one_in(2);
                self.pause(Some(tenant).filter(|_| !is_all));
            }
            _ => {
                for which in [Some(0), Some(1), None] {
                    self.resume(which);
                }
            }
        }
    }

    fn hold(&mut self, tenant: usize, line: Option<usize>) {
        let (kind, value) = match line {
            None => ("all", String::new()),
            Some(line) => ("call", self.lines[line].id.clone()),
        };
        let sql = format!(
            "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
             VALUES ('hold-{}', {}, '{kind}', '{value}', 'me', 1)",
            self.holds.len(),
            tenant + 1
        );
        self.connection().execute_batch(&sql).unwrap();
        self.note(format_args!("a hold of tenant {tenant} on {line:?}"));
        self.holds.push(Hold { tenant, line, stands: true });
    }

    pub(super) fn what_is_held_is_lifted(&mut self) {
        self.connection().execute_batch("UPDATE holds SET lifted_at = 1").unwrap();
        self.holds.iter_mut().for_each(|hold| hold.stands = false);
        self.note(format_args!("the holds are lifted"));
    }

    fn pause(&mut self, tenant: Option<usize>) {
        let entry = entry("pause", self.now());
        let paused = pause::pause(self.connection(), name(tenant).as_ref(), &entry).unwrap();
        self.paused[tenant.unwrap_or(2)] = true;
        if paused == Paused::Now {
            self.records += 1;
            self.meet("paused");
        }
    }

    pub(super) fn resume(&mut self, tenant: Option<usize>) {
        let entry = entry("resume", self.now());
        let resumed = pause::resume(self.connection(), name(tenant).as_ref(), &entry).unwrap();
        self.paused[tenant.unwrap_or(2)] = false;
        if matches!(resumed, Resumed::Now(_)) {
            self.records += 1;
            self.meet("resumed");
        }
    }

    pub(super) fn a_key_is_revoked(&mut self) {
        let key = self.dice.roll(4);
        // One of each tenant goes on.
        if self.revoked[key ^ 1] || self.revoked[key] {
            return;
        }
        let entry = entry("keys revoke", self.now());
        keys::revoke(self.connection(), self.keys[key].id, &entry).unwrap();
        self.revoked[key] = true;
        self.records += 1;
        self.meet("revoked");
    }

    /// Tries some deletions again, or cancels them.
    pub(super) fn an_operator_intervenes(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        if let Forgets::BeforeRetries(sql) = self.forgets {
            self.check_what_is_forgotten(sql);
        }
        let chosen: BTreeSet<_> =
            (0..=self.dice.roll(3)).map(|_| self.dice.roll(self.wanted.len())).collect();
        let retries = self.dice.one_in(2);
        let manners = [Manner::WhateverCan, Manner::AllOrNone, Manner::Preview];
        let manner = manners[self.dice.roll(3)];
        let now = self.now();
        let change = if retries {
            Change::Retry { tried_for: DEADLINE, apps: apps() }
        } else {
            Change::Cancel
        };
        let ids = chosen.iter().map(|wanted| self.wanted[*wanted].id).collect();
        let entry = entry("deletions", now);
        let before = checks::rows(self.connection());
        let intervention = Intervention { change, ids, manner, entry };
        let judged = operations::intervene(self.connection(), &intervention).unwrap();
        let all = judged.iter().all(|one| one.obstacle.is_none());
        if manner == Manner::Preview || manner == Manner::AllOrNone && !all {
            let after = checks::rows(self.connection());
            return self.demand(before == after, "changed although nothing was to change", &chosen);
        }
        for one in judged.iter().filter(|one| one.obstacle.is_none()) {
            self.records += 1;
            if retries { self.is_retried(one) } else { self.is_cancelled(one) }
        }
    }

    /// What could be tried again if this were forgotten.
    fn check_what_is_forgotten(&self, sql: &str) {
        let change = Change::Retry { tried_for: DEADLINE, apps: apps() };
        let ids = self.wanted.iter().map(|wanted| wanted.id).collect();
        let (manner, entry) = (Manner::Preview, entry("deletions", self.now()));
        self.connection().execute_batch(&format!("SAVEPOINT forgotten; {sql}")).unwrap();
        let intervention = Intervention { change, ids, manner, entry };
        let judged = operations::intervene(self.connection(), &intervention).unwrap();
        self.connection().execute_batch("ROLLBACK TO forgotten; RELEASE forgotten").unwrap();
        for one in judged.iter().filter(|one| one.obstacle.is_none()) {
            self.check_retry(one);
        }
    }

    /// Nothing is tried again that Graph has done, or that is held.
    fn check_retry(&self, judged: &Judged) {
        let wanted = &self.wanted[self.wanted_by(judged.deletion_id)];
        self.demand(!wanted.is_accepted, "retried although Graph accepted it", wanted);
        let is_held = wanted.line.is_some_and(|line| self.is_held(line, &wanted.kind));
        self.demand(!is_held, "retried although it is held", wanted);
    }

    fn is_retried(&mut self, judged: &Judged) {
        let position = self.wanted_by(judged.deletion_id);
        self.note(format_args!("{position} is tried again"));
        self.meet("retried");
        self.check_retry(judged);
        let wanted = &mut self.wanted[position];
        let longest = wanted.not_before.values().max().copied().unwrap_or_default();
        wanted.retried_not_before = wanted.retried_not_before.max(longest);
        wanted.is_stopped = false;
    }

    fn is_cancelled(&mut self, judged: &Judged) {
        let position = self.wanted_by(judged.deletion_id);
        self.note(format_args!("{position} is cancelled"));
        self.meet("cancelled");
        self.demand(!self.wanted[position].is_done, "cancelled although it is done", &position);
        self.wanted[position].is_stopped = true;
    }

    /// All deletions, page by page, are those that were recorded, each once, the newest first.
    pub(super) fn check_pages(&mut self) {
        let limit = 1 + self.dice.roll(4);
        let (mut listed, mut before) = (Vec::new(), None);
        loop {
            let filter = DeletionFilter { before, ..DeletionFilter::default() };
            let page = filtered::page(self.connection(), &filter, limit, read_row).unwrap();
            listed.extend(page.iter().map(|row| row.deletion_id));
            before = listed.last().copied();
            if page.len() < limit {
                break;
            }
        }
        let recorded: Vec<_> = self.wanted.iter().rev().map(|wanted| wanted.id).collect();
        self.demand(listed == recorded, "pages leave something out", &listed.len());
    }
}

fn name(tenant: Option<usize>) -> Option<TenantId> {
    tenant.map(|tenant| TenantId::new(&format!("tenant-{}", tenant + 1)))
}
