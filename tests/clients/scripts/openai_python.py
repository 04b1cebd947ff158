"""What OpenAI's own client for Python calls."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import openai
from cases import HI, IMAGE, MODEL, REAL, SCRIPTED, WEATHER, case, raises, run
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from openai.types import completion_create_params as completion_fields
from openai.types.chat import completion_create_params as chat_fields
from pydantic import BaseModel

real = OpenAI(base_url=REAL, api_key="any", max_retries=0, timeout=120)
scripted = OpenAI(base_url=SCRIPTED, api_key="any", max_retries=0, timeout=120)
patient = scripted.with_options(max_retries=2)
GREEDY = {"model": MODEL, "temperature": 0, "max_tokens": 4}


class Answer(BaseModel):
    """The shape of an answer."""

    word: Literal["yes", "no"]


class GetWeather(BaseModel):
    """Tells the weather of a city."""

    city: str


@case
def models_are_listed() -> None:
    assert [model.id for model in real.models.list()] == [MODEL]


@case
def a_model_is_retrieved() -> None:
    model = real.models.retrieve(MODEL)
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "tokenwire")


@case
def an_unknown_model_is_not_found() -> None:
    error = raises(openai.NotFoundError, lambda: real.models.retrieve("a/b:c.gguf@d/e"))
    assert error.code == "model_not_found"
    assert "'a/b:c.gguf@d/e'" in error.message


@case
def a_chat() -> None:
    answer = real.chat.completions.create(**GREEDY, messages=HI)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 4
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0


@case
def a_stream_with_usage() -> None:
    chunks = list(
        real.chat.completions.create(
            **GREEDY, messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 4


@case
def a_stream_helper() -> None:
    with real.chat.completions.stream(**GREEDY, messages=HI) as stream:
        kinds = {event.type for event in stream}
        whole = stream.current_completion_snapshot  # the final one raises, as the limit cut it
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert whole.choices[0].message.content


@case
def choices_with_logprobs() -> None:
    answer = real.chat.completions.create(**GREEDY, messages=HI, n=2, logprobs=True, top_logprobs=3)
    assert len(answer.choices) == 2
    for choice in answer.choices:
        tokens = choice.logprobs.content
        assert "".join(token.token for token in tokens) == choice.message.content
        assert all(len(token.top_logprobs) == 3 for token in tokens)


@case
def streamed_logprobs() -> None:
    stream = real.chat.completions.create(**GREEDY, messages=HI, logprobs=True, stream=True)
    tokens = [t for c in stream if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert len(tokens) == 4


@case
def other_roles_and_parts() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "eve", "content": [{"type": "text", "text": "Say hi."}]},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Again."},
    ]
    assert real.chat.completions.create(**GREEDY, messages=messages).choices[0].message.content


@case
def all_that_labels_a_request() -> None:
    answer = real.chat.completions.create(
        model=MODEL,
        messages=HI,
        temperature=0,
        max_completion_tokens=2,
        max_tokens=9,
        user="u",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        seed=-1,
        stop=["###"],
        presence_penalty=0.1,
        frequency_penalty=0.1,
        logit_bias={"5": -1},
        prediction={"type": "content", "content": "Hi"},
        safety_identifier="s",
        prompt_cache_key="k",
        parallel_tool_calls=True,
        response_format={"type": "text"},
    )
    assert answer.usage.completion_tokens == 2
    assert answer.service_tier == "default"


@case
def a_seed_repeats_an_answer() -> None:
    body = {"model": MODEL, "messages": HI, "max_tokens": 6, "temperature": 1, "seed": 2**40 + 3}
    said = {real.chat.completions.create(**body).choices[0].message.content for _ in range(2)}
    assert len(said) == 1


@case
def extra_fields_of_other_servers() -> None:
    answer = real.chat.completions.create(
        **GREEDY,
        messages=HI,
        extra_body={"top_k": 1, "min_p": 0.1, "structured_outputs": {"choice": ["yes"]}},
    )
    assert answer.choices[0].message.content == "yes"


@case
def any_json() -> None:
    answer = real.chat.completions.create(
        **{**GREEDY, "max_tokens": 64},
        messages=[{"role": "user", "content": "JSON please."}],
        response_format={"type": "json_object"},
    )
    text = answer.choices[0].message.content
    assert text.startswith("{")
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


@case
def parse_reads_a_schema() -> None:
    answer = real.chat.completions.parse(
        **{**GREEDY, "max_tokens": 20}, messages=HI, response_format=Answer
    )
    assert answer.choices[0].message.parsed.word in {"yes", "no"}


@case
def parse_reads_a_stream() -> None:
    with real.chat.completions.stream(
        **{**GREEDY, "max_tokens": 20}, messages=HI, response_format=Answer
    ) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Answer)


@case
def parse_tells_an_answer_that_was_cut() -> None:
    raises(
        openai.LengthFinishReasonError,
        lambda: real.chat.completions.parse(
            model=MODEL, messages=HI, temperature=0, max_tokens=1, response_format=Answer
        ),
    )


@case
def a_completion() -> None:
    answer = real.completions.create(**GREEDY, prompt="One, two,")
    assert answer.choices[0].text
    assert answer.usage.completion_tokens == 4


@case
def a_streamed_completion() -> None:
    chunks = list(real.completions.create(**GREEDY, prompt="One, two,", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


@case
def several_prompts() -> None:
    answer = real.completions.create(**GREEDY, prompt=["One, two,", "A, B,"], n=2, echo=True)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[3].text.startswith("A, B,")


@case
def token_ids_with_logprobs() -> None:
    answer = real.completions.create(**GREEDY, prompt=[[5345, 314]], logprobs=2)
    assert len(answer.choices[0].logprobs.tokens) == 4
    assert len(answer.choices[0].logprobs.top_logprobs[0]) == 2


@case
def tools_in_a_loop() -> None:
    messages: list = [{"role": "user", "content": "The weather in Paris and Rome?"}]
    for _ in range(3):
        answer = scripted.chat.completions.create(
            model="tools", messages=messages, tools=[WEATHER], tool_choice="auto"
        )
        message = answer.choices[0].message
        messages.append(message)
        if answer.choices[0].finish_reason != "tool_calls":
            break
        assert message.content is None
        for call in message.tool_calls:
            city = json.loads(call.function.arguments)["city"]
            result = {"role": "tool", "tool_call_id": call.id, "content": f"sun in {city}"}
            messages.append(result)
    assert message.content == "I heard: sun in Paris, sun in Rome"


@case
def tools_in_a_stream() -> None:
    with scripted.chat.completions.stream(
        model="tools", messages=HI, tools=[pydantic_function_tool(GetWeather, name="get_weather")]
    ) as stream:
        names = [e.name for e in stream if e.type == "tool_calls.function.arguments.done"]
        message = stream.get_final_completion().choices[0].message
    assert names == ["get_weather", "get_weather"]
    cities = [call.function.parsed_arguments.city for call in message.tool_calls]
    assert cities == ["Paris", "Rome"]


@case
def tools_are_parsed() -> None:
    tool = pydantic_function_tool(GetWeather, name="get_weather")
    answer = scripted.chat.completions.parse(model="tools", messages=HI, tools=[tool])
    (first, _) = answer.choices[0].message.tool_calls
    assert first.function.parsed_arguments == GetWeather(city="Paris")


@case
def one_call_at_a_time() -> None:
    answer = scripted.chat.completions.create(
        model="tools", messages=HI, tools=[WEATHER], parallel_tool_calls=False
    )
    assert len(answer.choices[0].message.tool_calls) == 1


@case
def tools_that_the_model_lacks() -> None:
    error = raises(
        openai.BadRequestError,
        lambda: real.chat.completions.create(model=MODEL, messages=HI, tools=[WEATHER]),
    )
    assert error.param == "tools"


@case
def thinking_is_told_apart() -> None:
    answer = scripted.chat.completions.create(model="thinks", messages=HI)
    assert answer.choices[0].message.reasoning_content == "hm"
    assert answer.choices[0].message.content == "Hi."
    chunks = scripted.chat.completions.create(model="thinks", messages=HI, stream=True)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "hm"


@case
def images_are_refused() -> None:
    error = raises(
        openai.BadRequestError, lambda: real.chat.completions.create(model=MODEL, messages=IMAGE)
    )
    assert error.param == "messages[0].content[1].image_url.url"


@case
def a_model_that_is_not_here() -> None:
    error = raises(
        openai.NotFoundError, lambda: real.chat.completions.create(model="gpt-9", messages=HI)
    )
    assert (error.code, error.param) == ("model_not_found", "model")


@case
def a_value_out_of_range() -> None:
    error = raises(
        openai.BadRequestError,
        lambda: real.chat.completions.create(model=MODEL, messages=HI, temperature=3),
    )
    assert (error.type, error.param) == ("invalid_request_error", "temperature")


@case
def a_field_that_nobody_knows() -> None:
    error = raises(
        openai.BadRequestError,
        lambda: real.chat.completions.create(
            model=MODEL, messages=HI, extra_body={"temprature": 1}
        ),
    )
    assert error.param == "temprature"


@case
def a_conversation_that_is_too_long() -> None:
    messages = [{"role": "user", "content": "x " * 3000}]
    error = raises(
        openai.BadRequestError,
        lambda: real.chat.completions.create(model=MODEL, messages=messages),
    )
    assert error.code == "context_length_exceeded"


@case
def failures_have_types_of_their_own() -> None:
    for model, kind, code in (
        ("unauthenticated", openai.AuthenticationError, "invalid_api_key"),
        ("forbidden", openai.PermissionDeniedError, "permission_denied"),
        ("quota", openai.RateLimitError, "rate_limit_exceeded"),
        ("busy", openai.InternalServerError, "at_capacity"),
    ):
        for stream in (False, True):

            def call(model: str = model, stream: bool = stream) -> None:
                scripted.chat.completions.create(model=model, messages=HI, stream=stream)

            error = raises(kind, call)
            assert error.code == code, (model, error)
            assert error.request_id


@case
def a_call_is_tried_again() -> None:
    answer = patient.chat.completions.with_raw_response.create(model="flaky", messages=HI)
    assert answer.retries_taken == 1
    assert answer.parse().choices[0].message.content == "Hi."


@case
def a_stream_is_tried_again() -> None:
    stream = patient.chat.completions.create(model="flaky", messages=HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hi."


@case
def a_failure_in_the_middle() -> None:
    heard = []

    def listen() -> None:
        for chunk in scripted.chat.completions.create(model="breaks", messages=HI, stream=True):
            heard.append(chunk.choices[0].delta.content)

    error = raises(openai.APIError, listen)
    assert error.code == "engine_lost"
    assert heard == ["", "Hi."]


@case
def headers_are_there() -> None:
    answer = real.chat.completions.with_raw_response.create(
        **GREEDY, messages=HI, extra_headers={"X-Request-Id": "r-9"}
    )
    assert answer.headers["x-request-id"] == "r-9"
    assert int(answer.headers["openai-processing-ms"]) > 0
    assert answer.parse()._request_id == "r-9"


@case
def a_stream_is_left() -> None:
    stream = scripted.chat.completions.create(model="endless", messages=HI, stream=True)
    next(stream)
    stream.close()


@case
async def an_asynchronous_stream_is_cancelled() -> None:
    async with AsyncOpenAI(base_url=SCRIPTED, api_key="any", max_retries=0) as client:
        begun = asyncio.Event()

        async def listen() -> None:
            async for _ in await client.chat.completions.create(
                model="endless", messages=HI, stream=True
            ):
                begun.set()

        task = asyncio.ensure_future(listen())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


@case
def a_timeout_of_the_client() -> None:
    raises(
        openai.APITimeoutError,
        lambda: scripted.with_options(timeout=0.5).chat.completions.create(
            model="endless", messages=HI
        ),
    )


@case
def every_field_of_this_release_is_known() -> None:
    """Honoured, without effect or refused with advice: never a name that the edge has not heard."""
    unheard: list[str] = []
    for route, fields in (
        (scripted.chat.completions, chat_fields.CompletionCreateParamsBase),
        (scripted.completions, completion_fields.CompletionCreateParamsBase),
    ):
        asked = {"messages": HI} if route is scripted.chat.completions else {"prompt": "Hi"}
        for name in fields.__annotations__:
            try:
                route.create(model="any", **asked, extra_body={name: "?"})
            except openai.APIStatusError as error:
                if "is no field" in error.message:
                    unheard.append(error.message)
    assert unheard == []


@case
def some_tools_are_allowed() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "required", "tools": [WEATHER]}
    answer = scripted.chat.completions.create(
        model="tools",
        messages=HI,
        tools=[other, WEATHER],
        tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
    )
    assert {call.function.name for call in answer.choices[0].message.tool_calls} == {"get_weather"}


@case
def routes_that_are_not_served() -> None:
    raises(openai.NotFoundError, lambda: real.embeddings.create(model=MODEL, input="x"))
    raises(openai.NotFoundError, lambda: real.responses.create(model=MODEL, input="x"))


run()
