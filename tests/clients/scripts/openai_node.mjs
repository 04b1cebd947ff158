// What OpenAI's own client for Node calls.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { HI, IMAGE_URL, MODEL, REAL, SCRIPTED, WEATHER, rejects, run } from "./cases.mjs";

const real = new OpenAI({ baseURL: REAL, apiKey: "any", maxRetries: 0 });
const scripted = new OpenAI({ baseURL: SCRIPTED, apiKey: "any", maxRetries: 0 });
const greedy = { model: MODEL, temperature: 0, max_tokens: 4, messages: HI };
const Answer = z.object({ word: z.enum(["yes", "no"]) });

await run({
  async modelsAreListed() {
    const ids = [];
    for await (const model of real.models.list()) ids.push(model.id);
    assert.deepEqual(ids, [MODEL]);
  },
  async aModelIsRetrieved() {
    assert.equal((await real.models.retrieve(MODEL)).id, MODEL);
  },
  async aChat() {
    const answer = await real.chat.completions.create(greedy);
    assert.ok(answer.choices[0].message.content);
    assert.equal(answer.usage.completion_tokens, 4);
    assert.ok(answer._request_id);
  },
  async aStreamWithUsage() {
    const stream = await real.chat.completions.create({
      ...greedy,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage;
    }
    assert.ok(text);
    assert.equal(usage.completion_tokens, 4);
  },
  async aStreamHelper() {
    const stream = real.chat.completions.stream(greedy);
    let text = "";
    stream.on("content", (delta) => (text += delta));
    const whole = await stream.finalChatCompletion();
    assert.equal(whole.choices[0].message.content, text);
  },
  async choicesWithLogprobs() {
    const { choices } = await real.chat.completions.create({
      ...greedy,
      n: 2,
      logprobs: true,
      top_logprobs: 2,
    });
    assert.equal(choices.length, 2);
    assert.equal(choices[1].logprobs.content[0].top_logprobs.length, 2);
  },
  async parseReadsASchema() {
    const answer = await real.chat.completions.parse({
      ...greedy,
      max_tokens: 20,
      response_format: zodResponseFormat(Answer, "answer"),
    });
    assert.ok(["yes", "no"].includes(answer.choices[0].message.parsed.word));
  },
  async parseReadsAStream() {
    const stream = real.chat.completions.stream({
      ...greedy,
      max_tokens: 20,
      response_format: zodResponseFormat(Answer, "answer"),
    });
    const whole = await stream.finalChatCompletion();
    assert.ok(whole.choices[0].message.parsed.word);
  },
  async parseTellsAnAnswerThatWasCut() {
    const error = await rejects(() =>
      real.chat.completions.parse({
        ...greedy,
        max_tokens: 1,
        response_format: zodResponseFormat(Answer, "answer"),
      }),
    );
    assert.equal(error.constructor.name, "LengthFinishReasonError");
  },
  async toolsRunInALoop() {
    const asked = [];
    const runner = scripted.chat.completions.runTools({
      model: "tools",
      messages: HI,
      tools: [
        {
          type: "function",
          function: {
            ...WEATHER.function,
            parse: JSON.parse,
            function: ({ city }) => {
              asked.push(city);
              return `sun in ${city}`;
            },
          },
        },
      ],
    });
    assert.equal(await runner.finalContent(), "I heard: sun in Paris, sun in Rome");
    assert.deepEqual(asked, ["Paris", "Rome"]);
  },
  async toolsRunInAStreamedLoop() {
    const runner = scripted.chat.completions.runTools({
      model: "tools",
      messages: HI,
      stream: true,
      tools: [
        {
          type: "function",
          function: {
            ...WEATHER.function,
            parse: JSON.parse,
            function: ({ city }) => `sun in ${city}`,
          },
        },
      ],
    });
    assert.equal(await runner.finalContent(), "I heard: sun in Paris, sun in Rome");
  },
  async aCompletion() {
    const answer = await real.completions.create({
      model: MODEL,
      prompt: ["One, two,", "A, B,"],
      max_tokens: 3,
      echo: true,
    });
    assert.ok(answer.choices[1].text.startsWith("A, B,"));
  },
  async aStreamedCompletion() {
    let text = "";
    for await (const chunk of await real.completions.create({
      model: MODEL,
      prompt: "One, two,",
      max_tokens: 3,
      stream: true,
    }))
      text += chunk.choices[0].text;
    assert.ok(text);
  },
  async imagesAreRefused() {
    const content = [{ type: "image_url", image_url: { url: IMAGE_URL } }];
    const error = await rejects(() =>
      real.chat.completions.create({ ...greedy, messages: [{ role: "user", content }] }),
    );
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "messages[0].content[0].image_url.url");
  },
  async failuresHaveTypesOfTheirOwn() {
    for (const [model, kind, code] of [
      ["unauthenticated", OpenAI.AuthenticationError, "invalid_api_key"],
      ["forbidden", OpenAI.PermissionDeniedError, "permission_denied"],
      ["quota", OpenAI.RateLimitError, "rate_limit_exceeded"],
      ["busy", OpenAI.InternalServerError, "at_capacity"],
    ]) {
      const error = await rejects(() => scripted.chat.completions.create({ model, messages: HI }));
      assert.ok(error instanceof kind, `${model}: ${error}`);
      assert.equal(error.code, code);
      assert.ok(error.requestID);
    }
  },
  async anUnknownModel() {
    const error = await rejects(() =>
      real.chat.completions.create({ ...greedy, model: "gpt-9" }),
    );
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
  },
  async anUnknownField() {
    const error = await rejects(() => real.chat.completions.create({ ...greedy, topk: 1 }));
    assert.equal(error.param, "topk");
  },
  async aCallIsTriedAgain() {
    const client = scripted.withOptions({ maxRetries: 2 });
    const answer = await client.chat.completions.create({ model: "flaky", messages: HI });
    assert.equal(answer.choices[0].message.content, "Hi.");
  },
  async aFailureInTheMiddle() {
    const heard = [];
    const error = await rejects(async () => {
      for await (const chunk of await scripted.chat.completions.create({
        model: "breaks",
        messages: HI,
        stream: true,
      }))
        heard.push(chunk.choices[0].delta.content);
    });
    assert.ok(error instanceof OpenAI.APIError);
    assert.equal(error.code, "engine_lost");
    assert.deepEqual(heard, ["", "Hi."]);
  },
  async aStreamIsAborted() {
    const stream = await scripted.chat.completions.create({
      model: "endless",
      messages: HI,
      stream: true,
    });
    for await (const chunk of stream) {
      assert.ok(chunk.id);
      break;
    }
    assert.ok(stream.controller.signal.aborted);
  },
});
