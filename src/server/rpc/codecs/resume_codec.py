"""What a call asks that takes up an earlier one."""

from __future__ import annotations

from ....generated.tokenwire.v1 import inference_pb2
from ...contract.errors import InvalidRequest
from ...request.kept_requests import KeptRequest
from ..validation import validate
from .request_codec import Request

_BESIDE_RESUME = frozenset(
    ("resume", "model", "delivery", "progress", "return_token_ids", "detach_timeout")
)


def decode_resume(request: Request) -> inference_pb2.Resume:
    """Returns what a request takes up.

    Raises:
        InvalidRequest: it breaks a rule, or a field is set that does not go together with it.
    """
    for field, _ in request.ListFields():
        if field.name not in _BESIDE_RESUME:
            raise InvalidRequest(
                field.name, "cannot be combined with resume, which takes up a request as it is"
            )
    validate(request.resume, "resume.")
    return request.resume


def check_resumed(request: Request, kept: KeptRequest) -> None:
    """Checks a request against the one that it takes up.

    Raises:
        InvalidRequest: the other model, or a position that was never told.
    """
    if request.model not in ("", kept.model_id):
        raise InvalidRequest("model", f"is '{kept.model_id}' in the request that is taken up")
    position = request.resume.after_position
    if position > kept.log.position:
        raise InvalidRequest(
            "resume.after_position",
            f"must be a position that was sent, at most {kept.log.position}, got {position}",
        )
    kept.log.check_kept(position)
    if not kept.log.has_told(position):
        raise InvalidRequest(
            "resume.after_position", f"must be a position that was sent, got {position}"
        )
