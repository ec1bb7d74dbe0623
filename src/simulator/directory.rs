//! What a tester said of tenants, apps and the managed identity. Of whom nothing was said, the
//! simulator accepts everything.

mod read;

use serde_json::{Value, json};

pub(super) use self::read::{Certificate, Credentials};
use super::login::App;
use super::trouble::Trouble;

/// Whose a call is, and who a managed identity, when nothing was said: the tenant and the app of the
/// examples in the documents.
pub(super) const USUAL_TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub(super) const USUAL_APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

/// Tenants, apps, and the identity of the machine.
#[derive(Debug, Default)]
pub(super) struct Directory {
    apps: Vec<KnownApp>,
    tenants: Vec<KnownTenant>,
    pub(super) identity: ManagedIdentity,
}

/// What was said of an app, in one tenant or in all.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own for the tester")]
pub(super) struct KnownApp {
    pub(super) client_id: String,
    tenant_id: Option<String>,
    /// What it may log in with; without them anything will do.
    pub(super) credentials: Option<Credentials>,
    /// Whether the tenant has it at all.
    pub(super) exists: bool,
    pub(super) enabled: bool,
    registered: bool,
    consent: bool,
    error: Option<Trouble>,
}

/// What was said of a tenant.
#[derive(Debug)]
pub(super) struct KnownTenant {
    tenant_id: String,
    /// Its other names, by which apps may log in.
    domains: Vec<String>,
    exists: bool,
    /// Client ids in `AllowRemoveParticipantAppIds`; without the list every app may.
    removers: Option<Vec<String>>,
    error: Option<Trouble>,
}

/// Who the machine is, when it asks without a credential.
#[derive(Debug, Default)]
pub(super) struct ManagedIdentity {
    pub(super) tenant_id: Option<String>,
    pub(super) client_id: Option<String>,
    /// The value of `X-IDENTITY-HEADER`; without one any will do.
    pub(super) header: Option<String>,
}

impl Directory {
    /// Keeps what is said of an app, in the place of what was said before, and shows it.
    pub(super) fn set_app(&mut self, app: KnownApp) -> Value {
        let listing = app.listing();
        self.apps.retain(|other| {
            !(same(&other.client_id, &app.client_id)
                && other.tenant_id.as_deref().map(str::to_lowercase)
                    == app.tenant_id.as_deref().map(str::to_lowercase))
        });
        self.apps.push(app);
        listing
    }

    /// Keeps what is said of a tenant, in the place of what was said before, and shows it.
    pub(super) fn set_tenant(&mut self, tenant: KnownTenant) -> Value {
        let listing = tenant.listing();
        self.tenants.retain(|other| !same(&other.tenant_id, &tenant.tenant_id));
        self.tenants.push(tenant);
        listing
    }

    /// Forgets what was said of apps.
    pub(super) fn forget_apps(&mut self) {
        self.apps.clear();
    }

    /// Forgets what was said of tenants.
    pub(super) fn forget_tenants(&mut self) {
        self.tenants.clear();
    }

    /// What was said of apps, without the secrets.
    pub(super) fn apps(&self) -> Value {
        self.apps.iter().map(KnownApp::listing).collect()
    }

    /// What was said of tenants.
    pub(super) fn tenants(&self) -> Value {
        self.tenants.iter().map(KnownTenant::listing).collect()
    }

    /// The id of the tenant with this id or domain; a name that nobody knows is its own id. None
    /// when it was said that there is no such tenant.
    pub(super) fn tenant_id(&self, name: &str) -> Option<String> {
        match self.tenants.iter().find(|tenant| tenant.has_name(name)) {
            None => Some(name.to_owned()),
            Some(tenant) => tenant.exists.then(|| tenant.tenant_id.clone()),
        }
    }

    /// What was said of this app in its tenant, or else of the app in all tenants.
    pub(super) fn app(&self, app: &App) -> Option<&KnownApp> {
        let mut same_id = self.apps.iter().filter(|known| same(&known.client_id, &app.client_id));
        let of_tenant = |known: &&KnownApp| {
            known.tenant_id.as_deref().is_some_and(|tenant| same(tenant, &app.tenant))
        };
        same_id.clone().find(of_tenant).or_else(|| same_id.find(|known| known.tenant_id.is_none()))
    }

    /// Why Graph refuses whatever this app asks.
    pub(super) fn trouble(&self, app: &App) -> Option<Trouble> {
        let tenant = self.tenants.iter().find(|tenant| same(&tenant.tenant_id, &app.tenant));
        self.app(app).and_then(KnownApp::trouble).or(tenant.and_then(|tenant| tenant.error))
    }

    /// Whether the tenant lets this app remove participants.
    pub(super) fn may_remove(&self, app: &App) -> bool {
        let tenant = self.tenants.iter().find(|tenant| same(&tenant.tenant_id, &app.tenant));
        tenant
            .and_then(|tenant| tenant.removers.as_ref())
            .is_none_or(|removers| removers.iter().any(|client_id| same(client_id, &app.client_id)))
    }
}

impl KnownApp {
    fn trouble(&self) -> Option<Trouble> {
        match self {
            Self { registered: false, .. } => Some(Trouble::NotRegistered),
            Self { consent: false, .. } => Some(Trouble::NoConsent),
            Self { error, .. } => *error,
        }
    }

    fn listing(&self) -> Value {
        json!({
            "clientId": self.client_id,
            "tenantId": self.tenant_id,
            "credentials": self.credentials.as_ref().map(Credentials::listing),
            "exists": self.exists,
            "enabled": self.enabled,
            "registered": self.registered,
            "consent": self.consent,
            "error": self.error.map(Trouble::code),
        })
    }
}

impl KnownTenant {
    fn has_name(&self, name: &str) -> bool {
        same(&self.tenant_id, name) || self.domains.iter().any(|domain| same(domain, name))
    }

    fn listing(&self) -> Value {
        json!({
            "tenantId": self.tenant_id,
            "domains": self.domains,
            "exists": self.exists,
            "allowRemoveParticipantAppIds": self.removers,
            "error": self.error.map(Trouble::code),
        })
    }
}

impl ManagedIdentity {
    /// Who it is, without the header that proves it.
    pub(super) fn listing(&self) -> Value {
        json!({
            "tenantId": self.tenant_id,
            "clientId": self.client_id,
            "header": self.header.as_ref().map(|_| "(hidden)"),
        })
    }
}

/// Whether two ids or domains are the same: Entra ID compares them without case.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::super::fields::Fields;
    use super::*;

    fn fields(body: &Value) -> Fields {
        Fields::read(body.to_string().as_bytes()).unwrap()
    }

    fn app(tenant: &str, client_id: &str) -> App {
        App { tenant: tenant.to_owned(), client_id: client_id.to_owned() }
    }

    #[test]
    fn what_is_said_of_an_app_in_its_tenant_counts_before_what_is_said_everywhere() {
        let mut directory = Directory::default();
        assert_eq!(directory.trouble(&app("t", "a")), None);
        for said in [
            json!({"clientId": "a", "registered": false}),
            json!({"clientId": "A", "tenantId": "t", "consent": false}),
            json!({"clientId": "b", "tenantId": "t", "error": 9999}),
        ] {
            directory.set_app(KnownApp::read(fields(&said)).unwrap());
        }
        assert_eq!(directory.trouble(&app("T", "a")), Some(Trouble::NoConsent));
        assert_eq!(directory.trouble(&app("u", "a")), Some(Trouble::NotRegistered));
        assert_eq!(directory.trouble(&app("t", "B")), Some(Trouble::Internal));
        assert_eq!(directory.trouble(&app("u", "b")), None);

        directory.set_app(KnownApp::read(fields(&json!({"clientId": "A"}))).unwrap());
        assert_eq!(directory.trouble(&app("u", "a")), None, "the last word counts");
    }

    #[test]
    fn a_tenant_has_domains_and_says_who_removes_participants() {
        let mut directory = Directory::default();
        assert!(directory.may_remove(&app("t", "a")));
        assert_eq!(directory.tenant_id("contoso.com").as_deref(), Some("contoso.com"));
        let said = json!({
            "tenantId": "t", "domains": ["contoso.com"], "allowRemoveParticipantAppIds": ["b"],
        });
        directory.set_tenant(KnownTenant::read(fields(&said)).unwrap());
        assert_eq!(directory.tenant_id("Contoso.com").as_deref(), Some("t"));
        assert!(!directory.may_remove(&app("t", "a")));
        assert!(directory.may_remove(&app("T", "B")));
        let gone = json!({"tenantId": "t", "exists": false});
        directory.set_tenant(KnownTenant::read(fields(&gone)).unwrap());
        assert_eq!(directory.tenant_id("t"), None);
    }
}
