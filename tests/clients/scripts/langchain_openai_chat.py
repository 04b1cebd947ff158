"""What LangChain's `ChatOpenAI` and `OpenAI` call."""

from __future__ import annotations

from typing import Literal

import openai
from cases import HI, IMAGE, MODEL, REAL, SCRIPTED, WEATHER, case, raises, run
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel


def chat(model: str = MODEL, **fields: object) -> ChatOpenAI:
    url = REAL if model == MODEL else SCRIPTED
    whole = {"temperature": 0, "max_tokens": 4, "max_retries": 0, **fields}
    return ChatOpenAI(model=model, base_url=url, api_key="any", **whole)


class Answer(BaseModel):
    """The shape of an answer."""

    word: Literal["yes", "no"]


@tool
def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"sun in {city}"


@case
def invoke() -> None:
    answer = chat().invoke(HI)
    assert answer.content
    assert answer.usage_metadata["output_tokens"] == 4
    assert answer.response_metadata["finish_reason"] == "length"


@case
def stream() -> None:
    whole = None
    for chunk in chat(stream_usage=True).stream(HI):
        whole = chunk if whole is None else whole + chunk
    assert whole.content
    assert whole.usage_metadata["output_tokens"] == 4


@case
async def astream() -> None:
    assert "".join([chunk.content async for chunk in chat().astream(HI)])


@case
def batch() -> None:
    answers = chat().batch([HI, HI])
    assert answers[0].content == answers[1].content


@case
def several_answers() -> None:
    result = chat(n=2).generate([[HumanMessage("Say hi.")]])
    assert len(result.generations[0]) == 2


@case
def logprobs() -> None:
    answer = chat().bind(logprobs=True, top_logprobs=2).invoke(HI)
    assert len(answer.response_metadata["logprobs"]["content"]) == 4


@case
def structured_output() -> None:
    for strict in (True, None):
        model = chat(max_tokens=20).with_structured_output(Answer, strict=strict)
        assert isinstance(model.invoke(HI), Answer)


@case
def structured_output_in_a_stream() -> None:
    model = chat(max_tokens=20).with_structured_output(Answer, method="json_schema")
    assert isinstance(list(model.stream(HI))[-1], Answer)


@case
def tools_in_a_loop() -> None:
    model = chat("tools").bind_tools([get_weather])
    messages: list = [HumanMessage("The weather?")]
    for _ in range(3):
        answer = model.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            break
        messages += [get_weather.invoke(call) for call in answer.tool_calls]
        assert isinstance(messages[-1], ToolMessage)
    assert answer.content == "I heard: sun in Paris, sun in Rome"


@case
def tools_in_a_stream() -> None:
    whole = None
    for chunk in chat("tools").bind_tools([WEATHER], tool_choice="required").stream(HI):
        whole = chunk if whole is None else whole + chunk
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]


@case
def images_are_refused() -> None:
    assert raises(openai.BadRequestError, lambda: chat().invoke(IMAGE)).param.startswith("messages")


@case
def failures_have_their_types() -> None:
    raises(openai.AuthenticationError, lambda: chat("unauthenticated").invoke(HI))
    raises(openai.RateLimitError, lambda: chat("quota").invoke(HI))
    raises(openai.InternalServerError, lambda: chat("busy").invoke(HI))
    raises(
        openai.NotFoundError,
        lambda: ChatOpenAI(model="gpt-9", base_url=REAL, api_key="any", max_retries=0).invoke(HI),
    )


@case
def a_call_is_tried_again() -> None:
    assert chat("flaky", max_retries=2).invoke(HI).content == "Hi."


@case
def a_failure_in_the_middle() -> None:
    raises(openai.APIError, lambda: list(chat("breaks").stream(HI)))


@case
def a_stream_is_left() -> None:
    stream = chat("endless").stream(HI)
    next(stream)
    stream.close()


@case
def a_completion() -> None:
    model = OpenAI(model=MODEL, base_url=REAL, api_key="any", temperature=0, max_tokens=4)
    assert model.invoke("One, two,")
    assert "".join(model.stream("One, two,"))


@case
def completions_in_a_batch() -> None:
    model = OpenAI(model=MODEL, base_url=REAL, api_key="any", temperature=0, max_tokens=4)
    result = model.generate(["One, two,", "A, B,"])
    assert len(result.generations) == 2


run()
