#!/usr/bin/env python3
"""Hangs up a call in the simulator with Microsoft's own Graph client for Python, unmodified.

    pip install msgraph-sdk
    python3 scripts/interop/delete_call.py http://127.0.0.1:PORT

It proves that the simulator's paths, success answer, `call` entity and error body are what the
official client expects. A failed assertion ends it with a traceback and exit code 1.
"""

import asyncio
import json
import sys
import time
import urllib.request
import uuid

from azure.core.credentials import AccessToken
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.call_state import CallState
from msgraph.generated.models.o_data_errors.o_data_error import ODataError


class FixedToken:
    """A credential without login: azure-identity speaks to https only."""

    def get_token(self, *_scopes, **_options):
        return AccessToken("interop-test-token", int(time.time()) + 3600)


async def main(url: str) -> None:
    # An id that the client has to percent-encode, and another one in each run.
    call = {"id": f"id with/odd?chars {uuid.uuid4()}", "source": "+4930123456", "targets": ["8856"]}
    urllib.request.urlopen(f"{url}/sim/calls", json.dumps(call).encode(), timeout=10).close()

    scopes = ["https://graph.microsoft.com/.default"]
    adapter = GraphRequestAdapter(AzureIdentityAuthenticationProvider(FixedToken(), scopes=scopes))
    adapter.base_url = f"{url}/v1.0"
    graph = GraphServiceClient(request_adapter=adapter)
    item = graph.communications.calls.by_call_id(call["id"])

    read = await item.get()
    assert read.state == CallState.Established, read.state
    assert read.source.identity.phone.id == "+4930123456", read.source
    await item.delete()
    for again in (item.delete, item.get):
        try:
            await again()
        except ODataError as error:
            assert error.response_status_code == 404, error
            assert error.error.code == "8522", error
            assert error.error.inner_error.request_id, error
        else:
            raise AssertionError("an ended call was found")
    print("read, hung up, and gone (404, code 8522)")


asyncio.run(main(sys.argv[1].rstrip("/")))
