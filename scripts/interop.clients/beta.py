"""The old paths, with the beta Graph SDK for Python: /app/calls as it generates them, and
/applications/{id}/calls, which it no longer does, by their URL."""

import asyncio
import uuid
from types import SimpleNamespace

from msgraph_beta import GraphRequestAdapter, GraphServiceClient
from msgraph_beta.generated.app.calls.item.reject.reject_post_request_body import (
    RejectPostRequestBody,
)
from msgraph_beta.generated.app.calls.item.participants.invite.invite_post_request_body import (
    InvitePostRequestBody,
)
from msgraph_beta.generated.models.identity import Identity
from msgraph_beta.generated.models.identity_set import IdentitySet
from msgraph_beta.generated.models.invitation_participant_info import InvitationParticipantInfo
from msgraph_beta.generated.models.reject_reason import RejectReason

from simulator import APP, URL, adapter, make, people, state


async def check(name: str, item) -> None:
    """Every operation on a call; `item` gives its request builder."""
    call_id = make(str(uuid.uuid4()), participants=people("p", "q"))
    assert (await item(call_id).get()).id == call_id
    roster = await item(call_id).participants.get()
    assert [one.id for one in roster.value] == ["p", "q"], roster
    await item(call_id).participants.by_participant_id("p").delete()
    info = InvitationParticipantInfo(
        identity=IdentitySet(user=Identity(id="278405a3-f568-4b3e-b684-009193463064"))
    )
    invite = item(call_id).participants.invite
    operation = await invite.post(InvitePostRequestBody(participants=[info]))
    assert operation.odata_type == "#microsoft.graph.inviteParticipantsOperation", operation
    coming = operation.participants[0].participant_id
    await item(call_id).participants.by_participant_id(coming).delete()
    await item(call_id).delete()
    assert state(call_id) == "terminated"

    call_id = make(str(uuid.uuid4()), state="incoming")
    await item(call_id).reject.post(RejectPostRequestBody(reason=RejectReason.None_))
    assert state(call_id) == "terminated"
    print(f"{name}: read, roster, removed, invited, taken back, hung up, rejected")


def in_applications(made: GraphRequestAdapter, call_id: str) -> SimpleNamespace:
    """The generated builders of one call, each below the path that is no longer generated."""
    base = f"{URL}/beta/applications/{APP}/calls/{call_id}"
    call = GraphServiceClient(request_adapter=made).app.calls.by_call_id(call_id)
    participants = call.participants

    def by_participant_id(participant_id: str):
        one = participants.by_participant_id(participant_id)
        return one.with_url(f"{base}/participants/{participant_id}")

    return SimpleNamespace(
        get=call.with_url(base).get,
        delete=call.with_url(base).delete,
        reject=call.reject.with_url(f"{base}/reject"),
        participants=SimpleNamespace(
            get=participants.with_url(f"{base}/participants").get,
            by_participant_id=by_participant_id,
            invite=participants.invite.with_url(f"{base}/participants/invite"),
        ),
    )


async def main() -> None:
    made = adapter(GraphRequestAdapter, "beta")
    calls = GraphServiceClient(request_adapter=made).app.calls
    await check("/app/calls", calls.by_call_id)
    await check("/applications/{id}/calls", lambda call_id: in_applications(made, call_id))


asyncio.run(main())
