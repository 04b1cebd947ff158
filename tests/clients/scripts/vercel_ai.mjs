// What the Vercel AI SDK calls, with its provider for servers that speak OpenAI's API.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { IMAGE_URL, MODEL, REAL, SCRIPTED, rejects, run } from "./cases.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const at = (baseURL) =>
  createOpenAICompatible({
    name: "tokenwire",
    baseURL,
    apiKey: "any",
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const real = at(REAL)(MODEL);
const scripted = at(SCRIPTED);
const greedy = { model: real, prompt: "Say hi.", temperature: 0, maxOutputTokens: 4, maxRetries: 0 };
const tools = {
  get_weather: tool({
    description: "Tells the weather of a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sun in ${city}`,
  }),
};
const schema = z.object({ word: z.enum(["yes", "no"]) });

await run({
  async aText() {
    const { text, usage, finishReason } = await generateText(greedy);
    assert.ok(text);
    assert.equal(usage.outputTokens, 4);
    assert.equal(finishReason, "length");
  },
  async aStream() {
    const result = streamText(greedy);
    let text = "";
    for await (const delta of result.textStream) text += delta;
    assert.ok(text);
    assert.equal((await result.usage).outputTokens, 4);
  },
  async anObject() {
    const { output } = await generateText({
      ...greedy,
      maxOutputTokens: 20,
      output: Output.object({ schema }),
    });
    assert.ok(["yes", "no"].includes(output.word));
  },
  async aStreamedObject() {
    const result = streamText({
      ...greedy,
      maxOutputTokens: 20,
      output: Output.object({ schema }),
    });
    assert.ok((await result.output).word);
  },
  async toolsInALoop() {
    const { text, steps } = await generateText({
      model: scripted("tools"),
      prompt: "The weather?",
      tools,
      stopWhen: stepCountIs(3),
    });
    assert.equal(text, 'I heard: sun in Paris, sun in Rome');
    assert.equal(steps.length, 2);
  },
  async toolsInAStreamedLoop() {
    const result = streamText({
      model: scripted("tools"),
      prompt: "The weather?",
      tools,
      stopWhen: stepCountIs(3),
    });
    assert.equal(await result.text, 'I heard: sun in Paris, sun in Rome');
  },
  async thinkingIsToldApart() {
    const { text, reasoningText } = await generateText({
      model: scripted("thinks"),
      prompt: "Hi",
    });
    assert.deepEqual([reasoningText, text], ["hm", "Hi."]);
    const result = streamText({ model: scripted("thinks"), prompt: "Hi" });
    assert.equal(await result.reasoningText, "hm");
  },
  async aCompletion() {
    const model = at(REAL).completionModel(MODEL);
    const { text } = await generateText({ ...greedy, model, prompt: "One, two," });
    assert.ok(text);
  },
  async imagesAreRefused() {
    const content = [{ type: "image", image: IMAGE_URL, mediaType: "image/png" }];
    const error = await rejects(() =>
      generateText({ ...greedy, prompt: undefined, messages: [{ role: "user", content }] }),
    );
    assert.ok(APICallError.isInstance(error), String(error));
    assert.equal(error.statusCode, 400);
  },
  async failuresHaveTheirStatus() {
    for (const [model, status, isRetryable] of [
      ["unauthenticated", 401, false],
      ["quota", 429, true],
      ["busy", 503, true],
    ]) {
      const error = await rejects(() =>
        generateText({ model: scripted(model), prompt: "Hi", maxRetries: 0 }),
      );
      assert.ok(APICallError.isInstance(error), String(error));
      assert.deepEqual([error.statusCode, error.isRetryable], [status, isRetryable]);
    }
  },
  async aCallIsTriedAgain() {
    const { text } = await generateText({ model: scripted("flaky"), prompt: "Hi", maxRetries: 2 });
    assert.equal(text, "Hi.");
  },
  async aFailureInTheMiddle() {
    const errors = [];
    const result = streamText({
      model: scripted("breaks"),
      prompt: "Hi",
      onError: ({ error }) => errors.push(error),
    });
    let text = "";
    for await (const delta of result.textStream) text += delta;
    assert.equal(text, "Hi.");
    assert.equal(errors.length, 1);
  },
  async aStreamIsAborted() {
    const controller = new AbortController();
    const result = streamText({
      model: scripted("endless"),
      prompt: "Hi",
      abortSignal: controller.signal,
      onError: () => {},
    });
    for await (const part of result.fullStream) {
      if (part.type === "text-delta") controller.abort();
      if (part.type === "abort") return;
    }
    assert.fail("no abort was told");
  },
});
