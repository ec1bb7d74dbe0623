//! The HTTP clients, as far as all of them are alike.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy};

use crate::config::graph::{GraphConfig, Outbound};

const PRODUCT: &str = concat!("callgate/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is reached without a proxy: this machine.
const HERE: &str = "localhost,127.0.0.0/8,::1";

/// What every client that reaches Microsoft has, but for time limits. `secure` says that there are
/// `https` URLs to be reached. Without, and without a proxy that is at one, nothing vouches for one.
///
/// # Errors
///
/// When the proxy or a CA certificate cannot be used.
pub(crate) fn client_builder(secure: bool, outbound: &Outbound) -> reqwest::Result<ClientBuilder> {
    let mut client = plain_builder();
    let mut secure = secure;
    if let Some(proxy) = &outbound.proxy {
        let address = proxy.expose();
        secure |= address.scheme() == "https";
        let proxy = Proxy::all(address.clone())?;
        client = client.proxy(proxy.no_proxy(NoProxy::from_string(HERE)));
    }
    let authorities = outbound.authorities.iter().map(|der| Certificate::from_der(der));
    let authorities = authorities.collect::<reqwest::Result<Vec<_>>>()?;
    Ok(match secure {
        false => client.tls_certs_only([]),
        true if authorities.is_empty() => client,
        true => client.tls_certs_merge(authorities),
    })
}

/// The client for Graph and its logins.
///
/// # Errors
///
/// When it cannot be built, for example because there are no CA certificates and they are needed.
pub(super) fn http_client(config: &GraphConfig, secure: bool) -> reqwest::Result<Client> {
    client_builder(secure, &config.outbound)?
        .timeout(config.request_timeout)
        // Shorter than what the login leaves of the time, so that a connection that does not come
        // about is never taken for a lost answer.
        .connect_timeout(CONNECT_TIMEOUT.min(config.request_timeout / 3))
        .tcp_nodelay(true)
        .pool_max_idle_per_host(config.concurrency)
        // Under the idle limits of the load balancers on the way.
        .pool_idle_timeout(Duration::from_mins(1))
        // A connection that died without a word is given up before its requests time out.
        .http2_keep_alive_interval(Duration::from_secs(15))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .build()
}

/// The client for the machine's own identity, which no proxy may see. It is never used for `https`.
///
/// # Errors
///
/// When it cannot be built.
pub(super) fn direct_client() -> reqwest::Result<Client> {
    plain_builder().tls_certs_only([]).connect_timeout(Duration::from_secs(2)).build()
}

fn plain_builder() -> ClientBuilder {
    Client::builder()
        .user_agent(PRODUCT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::config::graph::TenantConfig;
    use crate::graph::GraphClient;
    use crate::graph::error::{GraphError, LoginError};
    use crate::graph::responder::{Responder, answer, config, grant, tenant};
    use crate::id::{GraphCallId, TenantId};
    use crate::secret::Secret;

    fn through(proxy: &Responder, graph: &str) -> GraphClient {
        let mut config = config(graph, graph);
        let address = proxy.url.replace("http://", "http://user:p%40ss@").parse().unwrap();
        config.outbound.proxy = Some(Secret::new(address));
        let http = http_client(&config, false).unwrap();
        GraphClient::with(http, &config, Clock::manual(Timestamp(1_790_000_000_000))).unwrap()
    }

    async fn hang_up(client: &GraphClient) -> Result<(), GraphError> {
        client.hang_up(&tenant(), &GraphCallId("c".to_owned())).await.result
    }

    #[tokio::test]
    async fn a_proxy_is_on_the_way_to_graph_and_its_login_and_gets_its_password() {
        let proxy = Responder::start([grant("t", 3599), answer("204 No Content", "", "")]);
        hang_up(&through(&proxy, "http://graph.example")).await.unwrap();
        let requests = proxy.requests();
        assert!(requests[0].starts_with("POST http://graph.example/72f988bf-"), "{}", requests[0]);
        let path = "DELETE http://graph.example/v1.0/communications/calls/c HTTP/1.1\r\n";
        assert!(requests[1].starts_with(path), "{}", requests[1]);
        for request in requests {
            assert!(request.contains("proxy-authorization: Basic dXNlcjpwQHNz\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn what_is_secret_stays_secret_from_the_proxy() {
        let proxy = Responder::start([answer("407 Proxy Authentication Required", "", "")]);
        let error = hang_up(&through(&proxy, "https://graph.example")).await.unwrap_err();
        assert!(matches!(error, GraphError::Login(LoginError::Unreachable(_))), "{error:?}");
        let shown = format!("{} {error:?}", error.explanation());
        assert!(!shown.contains("p%40ss") && !shown.contains("127.0.0.1"), "{shown}");
        let request = proxy.requests().remove(0);
        assert!(request.starts_with("CONNECT graph.example:443 HTTP/1.1\r\n"), "{request}");
        assert!(!request.contains("s~cr") && request.contains("asic dXNlcjpwQHNz"), "{request}");
    }

    #[tokio::test]
    async fn this_machine_is_reached_without_the_proxy() {
        let proxy = Responder::start([]);
        let graph = Responder::start([grant("t", 3599), answer("204 No Content", "", "")]);
        hang_up(&through(&proxy, &graph.url)).await.unwrap();
        assert_eq!((graph.requests().len(), proxy.requests().len()), (2, 0));
    }

    #[tokio::test]
    async fn each_tenant_has_its_own_login_and_graph() {
        let there = [(); 2]
            .map(|()| Responder::start([grant("own", 3599), answer("204 No Content", "", "")]));
        let mut config = config(&there[0].url, &there[0].url);
        let other = TenantId::new("other.example");
        config.further.push(TenantConfig::at(&there[1].url, other.clone(), "app-2", "second"));
        let client = GraphClient::new(&config, Clock::manual(Timestamp(0))).unwrap();
        client.hang_up(&other, &GraphCallId("c".to_owned())).await.result.unwrap();
        assert_eq!(there[0].requests().len(), 0);
        let login = there[1].requests().remove(0);
        assert!(login.starts_with("POST /other.example/oauth2/v2.0/token"), "{login}");
        assert!(login.contains("client_id=app-2&client_secret=second&"), "{login}");
        hang_up(&client).await.unwrap();
        assert_eq!((there[0].requests().len(), there[1].requests().len()), (2, 0));
    }
}
