"""OpenAI's stored responses on the wire: kept if that is asked for, fetched by their id.

Sources: https://platform.openai.com/docs/api-reference/responses/get and, for what is still being made,
https://developers.openai.com/api/docs/guides/background. Only what is made in the background (``extra``:
``background``) is promised to go on without its connection; of the rest, what was whole by then can be fetched.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from repertory.providers.failures import Peer, parsed
from repertory.providers.messages import LMRequest
from repertory.providers.openai_output import CUTS, response_of
from repertory.providers.stored import Fetched

UNDER_WAY: Final = frozenset({"queued", "in_progress"})
NEVER: Final = frozenset({"failed", "cancelled"})


def kept(request: LMRequest) -> LMRequest:
    """Return ``request`` asking that its answer be kept; see ``StoredReplies``, as for the next ones."""
    return replace(request, extra={"store": True, **request.extra})


def path(response_id: str, request: LMRequest | None) -> str:
    """The response with the parts of it that are left out unless asked for."""
    included = ["reasoning.encrypted_content"]
    if request is not None and request.top_logprobs is not None:
        included.append("message.output_text.logprobs")
    query = "&".join(f"include[]={each}" for each in included)
    return f"/responses/{quote(response_id, safe='')}?{query}"


def decode(body: bytes, peer: Peer) -> Fetched:
    """Return the response, or what is to be said of it."""
    reply = parsed(body)
    if not isinstance(reply, dict):
        raise peer.malformed("its answer is not a JSON object")
    status = reply.get("status")
    if status in UNDER_WAY:
        return "under way"
    if status in NEVER or reply.get("error") or _was_broken_off(reply):
        return "gone"
    return response_of(reply, peer)


def _was_broken_off(reply: Mapping[str, Any]) -> bool:
    """Whether it is incomplete for another reason than those with which an answer may end."""
    details = reply.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return reply.get("status") == "incomplete" and reason not in CUTS
