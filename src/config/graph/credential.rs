//! What the app proves itself with at the login: one kind of credential for each tenant.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::config::endpoint::is_loopback;
use crate::config::error::{ConfigError, Origin, SecretFileFault};
use crate::config::graph::certificate::ClientCertificate;
use crate::config::graph::tenant::Section;
use crate::config::secret_file;
use crate::config::source::Source;
use crate::config::value::Expected;
use crate::secret::Secret;

/// Where Azure's machines ask for tokens.
const IMDS: &str = "http://169.254.169.254";

/// How the app logs in.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// Client secrets, at least one; the next is tried when the login does not know the one before.
    Secrets(Vec<Secret<String>>),
    /// A certificate whose key signs an assertion.
    Certificate(ClientCertificate),
    /// A file with an assertion of another issuer, which is replaced while we run.
    Federated(PathBuf),
    /// The identity of the machine that we run on.
    Managed(ManagedIdentity),
}

/// Who gives tokens for a managed identity; always at this machine or its link.
#[derive(Clone, Debug)]
pub(crate) enum ManagedIdentity {
    /// The metadata service of a virtual machine; its address without a path.
    Imds(String),
    /// Azure's App Service: an address, and the secret that proves that we run there.
    AppService(Url, Secret<String>),
}

/// The assertion in a file, as it is now.
///
/// # Errors
///
/// When there is none.
pub(crate) fn read_assertion(file: &Path) -> Result<Secret<String>, SecretFileFault> {
    let lines = secret_file::read(file, 1).map_err(|fault| match fault {
        SecretFileFault::Empty => SecretFileFault::NoToken,
        other => other,
    });
    lines?.pop().ok_or(SecretFileFault::NoToken)
}

/// Something is wrong with the credential, and it is on record.
pub(super) struct Faulty;

impl Credential {
    /// The credential in `section`, if there is one. Every file that it names is read.
    pub(super) fn read(from: &mut Source, section: &Section) -> Result<Option<Self>, Faulty> {
        let names = Names::of(section);
        let given = from.secret(names.secret.clone());
        let secret_file = from.path(names.secret_file.clone());
        let certificate_file = from.path(names.certificate_file.clone());
        let key_file = from.path(names.key_file.clone());
        let federated = from.path(names.federated.clone());
        let identity = from.identity.clone();
        let managed = from.optional(names.managed.clone(), |text| managed(text, identity.as_ref()));
        if let (Some(_), Origin::File { path, .. }) = (&given, from.origin(&names.secret)) {
            let what = format!("the configuration file with {} in it", names.secret);
            warn_if_open(from, &what, &path);
        }
        let all = [
            (given.is_some(), &names.secret),
            (secret_file.is_some(), &names.secret_file),
            (certificate_file.is_some(), &names.certificate_file),
            (federated.is_some(), &names.federated),
            (managed.is_some(), &names.managed),
        ];
        let set: Vec<_> = all.iter().filter(|one| one.0).map(|one| one.1.as_str()).collect();
        if set.len() > 1 {
            from.contradiction(&set, "are both set; keep one of them");
            return Err(Faulty);
        }
        if from.has_refused(&all.map(|one| one.1.as_str())) {
            return Err(Faulty);
        }
        if key_file.is_some() && certificate_file.is_none() {
            let problem = "belongs to a certificate; set certificate_file as well";
            from.contradiction(&[&names.key_file], problem);
            return Err(Faulty);
        }
        Ok(match (given, secret_file, certificate_file, federated, managed) {
            (Some(secret), ..) => Some(Self::Secrets(vec![secret])),
            (_, Some(file), ..) => Some(Self::Secrets(names.read_secrets(from, &file)?)),
            (_, _, Some(file), ..) => {
                Some(Self::Certificate(names.read_certificate(from, &file, key_file.as_deref())?))
            }
            (.., Some(file), _) => Some(Self::Federated(names.read_federated(from, file)?)),
            (.., Some(managed)) => Some(Self::Managed(managed)),
            _ => None,
        })
    }
}

/// The whole names of the keys.
struct Names {
    secret: String,
    secret_file: String,
    certificate_file: String,
    key_file: String,
    federated: String,
    managed: String,
}

impl Names {
    fn of(section: &Section) -> Self {
        Self {
            secret: section.key("client_secret"),
            secret_file: section.key("client_secret_file"),
            certificate_file: section.key("certificate_file"),
            key_file: section.key("key_file"),
            federated: section.key("federated_token_file"),
            managed: section.key("managed_identity"),
        }
    }

    /// While a secret is changed, the file holds the new one and the old one.
    fn read_secrets(&self, from: &mut Source, file: &Path) -> Result<Vec<Secret<String>>, Faulty> {
        let key = &self.secret_file;
        let secrets = secret_file::read(file, 2);
        warn_if_open(from, key, file);
        secrets.map_err(|fault| refuse_secret_file(from, key, fault))
    }

    fn read_certificate(
        &self,
        from: &mut Source,
        file: &Path,
        key_file: Option<&Path>,
    ) -> Result<ClientCertificate, Faulty> {
        let holds_key = key_file.unwrap_or(file);
        warn_if_open(from, &self.key_file, holds_key);
        ClientCertificate::read(file, holds_key).map_err(|(is_of_the_key, fault)| {
            let of_the_key = is_of_the_key && key_file.is_some();
            let key = if of_the_key { &self.key_file } else { &self.certificate_file };
            let origin = from.origin(key);
            let error = ConfigError::CertificateFile { key: key.clone().into(), fault, origin };
            from.refuse(key.clone(), error);
            Faulty
        })
    }

    fn read_federated(&self, from: &mut Source, file: PathBuf) -> Result<PathBuf, Faulty> {
        match read_assertion(&file) {
            Ok(_) => Ok(file),
            Err(fault) => Err(refuse_secret_file(from, &self.federated, fault)),
        }
    }
}

fn refuse_secret_file(from: &mut Source, key: &str, fault: SecretFileFault) -> Faulty {
    let origin = from.origin(key);
    from.refuse(
        key.to_owned(),
        ConfigError::SecretFile { key: key.to_owned().into(), fault, origin },
    );
    Faulty
}

pub(super) fn warn_if_open(from: &mut Source, what: &str, path: &Path) {
    if secret_file::is_readable_by_others(path) {
        let path = path.display();
        from.warn(format!("{what}: every user of the machine can read {path}; chmod o-r it"));
    }
}

fn managed(
    text: &str,
    platform: Option<&(String, Secret<String>)>,
) -> Result<ManagedIdentity, Expected> {
    match text {
        "imds" => Ok(ManagedIdentity::Imds(IMDS.to_owned())),
        "app-service" => {
            let (address, header) = platform.ok_or_else(|| {
                Expected::new(
                    "imds (app-service needs the variables IDENTITY_ENDPOINT and IDENTITY_HEADER, \
                     which the platform sets)",
                )
            })?;
            let url = local(address).ok_or_else(|| {
                Expected::new("an http address of this machine or its link in IDENTITY_ENDPOINT")
            })?;
            Ok(ManagedIdentity::AppService(url, header.clone()))
        }
        address => match local(address).filter(|url| url.path() == "/" && url.query().is_none()) {
            Some(url) => Ok(ManagedIdentity::Imds(url.as_str().trim_end_matches('/').to_owned())),
            None => Err(Expected::new(
                "imds, app-service, or an http address of this machine or its link without a path",
            )),
        },
    }
}

/// An `http` address that no packet leaves the machine or its link for.
fn local(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_link_local = match address.map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_unicast_link_local(),
        Err(_) => false,
    };
    let is_bare = url.username().is_empty() && url.password().is_none() && !text.contains('#');
    (url.scheme() == "http" && is_bare && (is_link_local || is_loopback(host))).then_some(url)
}
