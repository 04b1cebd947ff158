"""Where models stand, from the domain to protos."""

from __future__ import annotations

from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.models.model_state import ModelView, State
from tokenwire.server.rpc.codecs.model_codec import encode_models

from ...scripted_engine import ScriptedEngine


async def test_models() -> None:
    """A model that serves tells its facts; one that loads tells how far it is."""
    info = ScriptedEngine(context_length=64).info
    loading = ModelView("a", "", State.LOADING, LoadProgress("fetching", 0.5, "1 GB"), "", None)
    serving = ModelView("b", "abc", State.SERVING, None, "", info)
    first, second = encode_models([loading, serving], 4096).models
    assert (first.state, first.progress) == (models_pb2.MODEL_STATE_LOADING, "fetching, 1 GB")
    assert (first.progress_fraction, first.max_output_tokens) == (0.5, 4096)
    assert (second.state, second.revision) == (models_pb2.MODEL_STATE_SERVING, "abc")
    assert (second.context_length, second.max_output_tokens) == (64, 63)
    assert second.capabilities.chat
    assert second.capabilities.logprobs
    assert second.capabilities.prompt_logprobs
    assert not second.capabilities.fill_in_the_middle


def test_failed_adapter() -> None:
    """A model that failed says why, and an adapter names its model."""
    view = ModelView("a", "", State.FAILED, None, "no files", None, "base")
    (model,) = encode_models([view], 16).models
    assert (model.state, model.failure) == (models_pb2.MODEL_STATE_FAILED, "no files")
    assert (model.base_model, model.max_output_tokens) == ("base", 16)
