"""The simulator's control API, and what the clients for Python share."""

import json
import ssl
import sys
import urllib.error
import urllib.request

URL = sys.argv[1].rstrip("/")
AUTHORITY = sys.argv[2]
HOST = URL.split("://")[1]
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
APP = "2891555a-92ff-42e6-80fa-6e1300c6b5c6"
SCOPE = "https://graph.microsoft.com/.default"


def trust() -> ssl.SSLContext:
    """Trusts the simulator's authority alone."""
    return ssl.create_default_context(cafile=AUTHORITY)


def control(path: str, body: object = None, method: str = "POST") -> object:
    """One request of the control API, and what it answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{URL}/sim/{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=10, context=trust()) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def azure_credential(secret: str = "right"):
    """A login with a secret, by azure-identity."""
    from azure.core.pipeline.transport import RequestsTransport
    from azure.identity import ClientSecretCredential

    return ClientSecretCredential(
        TENANT,
        APP,
        secret,
        authority=HOST,
        disable_instance_discovery=True,
        transport=RequestsTransport(connection_verify=AUTHORITY),
    )


def adapter(adapter_type, version: str):
    """An adapter of a Graph SDK that logs in with a secret and speaks to the simulator."""
    import httpx
    from kiota_authentication_azure.azure_identity_authentication_provider import (
        AzureIdentityAuthenticationProvider,
    )
    from kiota_http.kiota_client_factory import KiotaClientFactory

    client = KiotaClientFactory.create_with_default_middleware(
        client=httpx.AsyncClient(verify=trust(), http2=True, trust_env=False)
    )
    provider = AzureIdentityAuthenticationProvider(azure_credential(), scopes=[SCOPE])
    made = adapter_type(provider, client=client)
    made.base_url = f"{URL}/{version}"
    return made


def people(*ids: str) -> list:
    """Participants as the control API takes them."""
    return [{"id": one, "identity": {"phone": {"id": "+4930123456"}}} for one in ids]


def make(call_id: str, **more: object) -> str:
    """A call of the tenant and the app, and its id."""
    call = {"id": call_id, "source": "+4930123456", "targets": ["8856"]}
    call |= {"tenantId": TENANT, "appId": APP} | more
    return control("calls", call)["id"]


def state(call_id: str) -> str:
    """Where a call stands."""
    return control(f"calls/{call_id}", method="GET")["state"]
