"""Every operation, with the Graph SDK for Python on v1.0."""

import asyncio
import time
import uuid

from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.communications.calls.item.participants.invite.invite_post_request_body import (
    InvitePostRequestBody,
)
from msgraph.generated.communications.calls.item.reject.reject_post_request_body import (
    RejectPostRequestBody,
)
from msgraph.generated.models.call_state import CallState
from msgraph.generated.models.identity import Identity
from msgraph.generated.models.identity_set import IdentitySet
from msgraph.generated.models.invitation_participant_info import InvitationParticipantInfo
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.reject_reason import RejectReason

from simulator import APP, TENANT, adapter, control, make, people, state


async def refused(request, status: int, code: str) -> None:
    """The SDK understands Graph's error."""
    try:
        await request
    except ODataError as error:
        assert error.response_status_code == status, error
        assert error.error.code == code, error
        assert error.error.inner_error.request_id, error
        assert error.error.inner_error.client_request_id, error
    else:
        raise AssertionError(f"not refused with {status}, {code}")


async def hang_up(calls) -> None:
    # An id that the client has to percent-encode, and another one in each run.
    item = calls.by_call_id(make(f"id with/odd?chars {uuid.uuid4()}"))
    read = await item.get()
    assert read.state == CallState.Established, read.state
    assert read.source.identity.phone.id == "+4930123456", read.source
    await item.delete()
    await refused(item.delete(), 404, "8522")
    await refused(item.get(), 404, "8522")
    print("read, hung up, and gone (404, 8522)")


async def reject(calls) -> None:
    call_id = make(str(uuid.uuid4()), state="incoming")
    body = RejectPostRequestBody(reason=RejectReason.Busy)
    await calls.by_call_id(call_id).reject.post(body)
    assert state(call_id) == "terminated"
    late = make(str(uuid.uuid4()), state="incoming", ringMs=0)
    await refused(calls.by_call_id(late).reject.post(body), 404, "8522")
    print("rejected, and too late to reject (404, 8522)")


async def remove(calls) -> None:
    item = calls.by_call_id(make(str(uuid.uuid4()), participants=people("p", "q")))
    roster = await item.participants.get()
    assert [one.id for one in roster.value] == ["p", "q"], roster
    assert roster.value[0].info.identity.phone.id == "+4930123456", roster.value[0]
    control("tenants", {"tenantId": TENANT, "allowRemoveParticipantAppIds": []})
    await refused(item.participants.by_participant_id("p").delete(), 403, "7504")
    control("tenants", {"tenantId": TENANT, "allowRemoveParticipantAppIds": [APP]})
    await item.participants.by_participant_id("p").delete()
    await refused(item.participants.by_participant_id("p").delete(), 404, "NotFound")
    roster = await item.participants.get()
    assert [one.id for one in roster.value] == ["q"], roster
    print("roster read, one removed")


async def invite(calls) -> None:
    item = calls.by_call_id(make(str(uuid.uuid4()), inviteMs=300))
    info = InvitationParticipantInfo(
        identity=IdentitySet(user=Identity(id="278405a3-f568-4b3e-b684-009193463064")),
        replaces_call_id="a7ebfb2d-871e-419c-87af-27290b22e8db",
    )
    body = InvitePostRequestBody(participants=[info], client_context="f2fa86af")
    operation = await item.participants.invite.post(body)
    assert operation.odata_type == "#microsoft.graph.inviteParticipantsOperation", operation
    assert operation.client_context == "f2fa86af", operation
    coming = operation.participants[0].participant_id
    assert coming, operation
    deadline = time.monotonic() + 10
    while not (roster := (await item.participants.get()).value):
        assert time.monotonic() < deadline, "nobody joined"
        await asyncio.sleep(0.05)
    assert roster[0].id == coming, roster
    # Whoever has not joined yet is removed by the same id.
    item = calls.by_call_id(make(str(uuid.uuid4()), inviteMs=60_000))
    operation = await item.participants.invite.post(body)
    coming = operation.participants[0].participant_id
    await item.participants.by_participant_id(coming).delete()
    await refused(item.participants.by_participant_id(coming).delete(), 404, "NotFound")
    six = InvitePostRequestBody(participants=[info] * 6)
    await refused(item.participants.invite.post(six), 400, "BadRequest")
    print("invited, pending, joined, or taken back")


async def errors(calls) -> None:
    other = make(str(uuid.uuid4()), tenantId=str(uuid.uuid4()))
    await refused(calls.by_call_id(other).delete(), 403, "7505")
    call_id = make(str(uuid.uuid4()))
    for code, status in [("7503", 403), ("7504", 403), ("7505", 403), ("8522", 404), ("9999", 500)]:
        control(f"calls/{call_id}", {"error": code})
        await refused(calls.by_call_id(call_id).delete(), status, code)
    print("refused as documented")


async def main() -> None:
    calls = GraphServiceClient(request_adapter=adapter(GraphRequestAdapter, "v1.0")).communications.calls
    for part in (hang_up, reject, remove, invite, errors):
        await part(calls)


asyncio.run(main())
