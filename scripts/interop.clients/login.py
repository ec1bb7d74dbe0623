"""Logs in with MSAL and azure-identity: secrets, certificates, a federation, managed identities."""

import base64
import datetime
import json
import os
import tempfile
from urllib.parse import urlsplit, urlunsplit

import msal
import requests
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import (
    CertificateCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from simulator import APP, AUTHORITY, HOST, SCOPE, TENANT, URL, azure_credential, control


def certificate() -> tuple:
    """A key and its certificate, both in PEM, and the certificate's SHA-1 thumbprint."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "interop")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), made.public_bytes(pem).decode(), made.fingerprint(hashes.SHA1()).hex()


def with_msal(credential: object) -> dict:
    """What MSAL makes of the login's answer."""
    app = msal.ConfidentialClientApplication(
        APP,
        authority=f"{URL}/{TENANT}",
        client_credential=credential,
        instance_discovery=False,
        verify=AUTHORITY,
    )
    return app.acquire_token_for_client([SCOPE])


def check_instance_discovery() -> None:
    """MSAL asks Microsoft whether it knows an authority that it does not know itself. Our HTTP client
    takes that question to the simulator, and everything else stays as MSAL does it."""
    asked = []

    class AtTheSimulator(requests.Session):
        def request(self, method, url, *arguments, **options):
            parts = urlsplit(url)
            asked.append(parts.path)
            if parts.netloc == "login.microsoftonline.com":
                url = urlunsplit(parts._replace(netloc=HOST))
            return super().request(method, url, *arguments, **options)

    session = AtTheSimulator()
    session.verify = AUTHORITY
    app = msal.ConfidentialClientApplication(
        APP,
        authority=f"{URL}/{TENANT}",
        client_credential="right",
        instance_discovery=True,
        http_client=session,
    )
    answer = app.acquire_token_for_client([SCOPE])
    assert "access_token" in answer, answer
    assert asked[0] == "/common/discovery/instance", asked
    print("msal, secret, the authority looked up first: logged in")


def federated() -> str:
    """Somebody else's word, whose signature the simulator does not know."""
    claims = {"iss": "https://cluster", "sub": "sa", "aud": "api://exchange", "exp": 4_000_000_000}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)] + [b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def main() -> None:
    key, pem, sha1 = certificate()
    other_key, other_pem, _ = certificate()
    federation = {"issuer": "https://cluster", "subject": "sa", "audience": "api://exchange"}
    control("apps", {
        "clientId": APP,
        "tenantId": TENANT,
        "secrets": ["right", {"value": "old", "expired": True}],
        "certificates": [pem],
        "federations": [federation],
    })

    for name, credential in {
        "secret": "right",
        "certificate, PS256": {"private_key": key, "public_certificate": pem},
        "certificate, RS256": {"private_key": key, "thumbprint": sha1},
        "federation": {"client_assertion": federated},
    }.items():
        answer = with_msal(credential)
        assert "access_token" in answer, (name, answer)
        print(f"msal, {name}: logged in")
    for name, credential, number in [
        ("wrong secret", "wrong", 7000215),
        ("expired secret", "old", 7000222),
        ("other certificate", {"private_key": other_key, "public_certificate": other_pem}, 700027),
    ]:
        answer = with_msal(credential)
        assert answer.get("error") == "invalid_client", (name, answer)
        assert answer["error_codes"] == [number], (name, answer)
        print(f"msal, {name}: AADSTS{number}")

    check_instance_discovery()

    options = {
        "authority": HOST,
        "disable_instance_discovery": True,
        "transport": RequestsTransport(connection_verify=AUTHORITY),
    }
    assert azure_credential().get_token(SCOPE).token
    data = (key + pem).encode()
    assert CertificateCredential(TENANT, APP, certificate_data=data, **options).get_token(SCOPE)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(federated())
        file.flush()
        workload = WorkloadIdentityCredential(
            tenant_id=TENANT, client_id=APP, token_file_path=file.name, **options
        )
        assert workload.get_token(SCOPE).token
    print("azure-identity: secret, certificate, workload identity")

    # These two speak http, on the same port.
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = f"http://{HOST}"
    assert ManagedIdentityCredential(client_id=APP).get_token(SCOPE).token
    os.environ["IDENTITY_ENDPOINT"] = f"http://{HOST}/msi/token"
    os.environ["IDENTITY_HEADER"] = "any"
    assert ManagedIdentityCredential(client_id=APP).get_token(SCOPE).token
    print("azure-identity: managed identity of a machine and of App Service")


main()
