"""What LiteLLM calls, as an `openai` and as a `hosted_vllm` provider."""

from __future__ import annotations

import json
from typing import Literal

import litellm
from cases import HI, IMAGE, MODEL, REAL, SCRIPTED, WEATHER, case, raises, run
from pydantic import BaseModel

litellm.suppress_debug_info = True


class Answer(BaseModel):
    """The shape of an answer."""

    word: Literal["yes", "no"]


def complete(model: str = MODEL, provider: str = "openai", **fields: object) -> object:
    url = REAL if model in (MODEL, "gpt-9") else SCRIPTED
    whole = {"messages": HI, "temperature": 0, "max_tokens": 4, "num_retries": 0, "max_retries": 0}
    whole |= fields
    return litellm.completion(model=f"{provider}/{model}", api_base=url, api_key="any", **whole)


@case
def a_chat() -> None:
    answer = complete()
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens == 4


@case
def a_chat_as_vllm() -> None:
    answer = complete(provider="hosted_vllm", top_k=1, extra_body={"guided_choice": ["yes"]})
    assert answer.choices[0].message.content == "yes"


@case
def a_stream() -> None:
    chunks = list(complete(stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.completion_tokens == 4


@case
async def an_asynchronous_stream() -> None:
    stream = await litellm.acompletion(
        model=f"openai/{MODEL}",
        api_base=REAL,
        api_key="any",
        messages=HI,
        max_tokens=4,
        stream=True,
    )
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


@case
def choices_with_logprobs() -> None:
    answer = complete(n=2, logprobs=True, top_logprobs=2)
    assert len(answer.choices) == 2
    for choice in answer.choices:
        said = "".join(token.token for token in choice.logprobs.content)
        assert said == choice.message.content


@case
def a_schema() -> None:
    answer = complete(response_format=Answer, max_tokens=20)
    assert json.loads(answer.choices[0].message.content)["word"] in {"yes", "no"}


@case
def tools_in_a_loop() -> None:
    messages: list = list(HI)
    for _ in range(3):
        message = complete("tools", messages=messages, tools=[WEATHER]).choices[0].message
        messages.append(message)
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            city = json.loads(call.function.arguments)["city"]
            result = {"role": "tool", "tool_call_id": call.id, "content": f"sun in {city}"}
            messages.append(result)
    assert message.content == "I heard: sun in Paris, sun in Rome"


@case
def tools_in_a_stream() -> None:
    chunks = list(complete("tools", tools=[WEATHER], stream=True))
    message = litellm.stream_chunk_builder(chunks).choices[0].message
    cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
    assert cities == ["Paris", "Rome"]


@case
def thinking_is_told_apart() -> None:
    message = complete("thinks", provider="hosted_vllm").choices[0].message
    assert (message.reasoning_content, message.content) == ("hm", "Hi.")


@case
def a_completion() -> None:
    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}",
        api_base=REAL,
        api_key="any",
        prompt="One, two,",
        max_tokens=4,
    )
    assert answer.choices[0].text


@case
def images_are_refused() -> None:
    raises(litellm.BadRequestError, lambda: complete(messages=IMAGE))


@case
def failures_have_their_types() -> None:
    raises(litellm.AuthenticationError, lambda: complete("unauthenticated"))
    raises(litellm.RateLimitError, lambda: complete("quota"))
    raises(litellm.NotFoundError, lambda: complete("gpt-9"))
    raises(litellm.BadRequestError, lambda: complete(temperature=3))


@case
def a_server_without_a_turn() -> None:
    raises((litellm.ServiceUnavailableError, litellm.InternalServerError), lambda: complete("busy"))


@case
def a_conversation_that_is_too_long() -> None:
    messages = [{"role": "user", "content": "x " * 3000}]
    raises(litellm.ContextWindowExceededError, lambda: complete(messages=messages))


@case
def a_call_is_tried_again() -> None:
    answer = complete("flaky", num_retries=2)
    assert answer.choices[0].message.content == "Hi."


@case
def a_failure_in_the_middle() -> None:
    kind = litellm.exceptions.MidStreamFallbackError
    raises(kind, lambda: list(complete("breaks", stream=True)))


run()
