// One answer, put together of the events of its stream.

const MAX_SAMPLES = 600;

/** What became of an answer. */
export const WAITING = "waiting";
export const STREAMING = "streaming";
export const DONE = "done";
export const STOPPED = "stopped";
export const INTERRUPTED = "interrupted";
export const FAILED = "failed";
const LIMITS = ["FINISH_REASON_LENGTH", "FINISH_REASON_TIME_LIMIT"];

/** Returns an answer of which nothing has come; it goes on with the text and thinking of `begun`. */
export function newAnswer(model, settings, begun = { text: "", reasoning: "" }) {
  return {
    role: "assistant",
    model,
    settings: { ...settings },
    state: WAITING,
    wait: null,
    queuePlace: null,
    started: null,
    // What it goes on with; `text` begins so.
    begun: begun.text,
    text: begun.text,
    reasoning: begun.reasoning,
    toolCalls: [],
    end: null,
    usage: null,
    timings: null,
    // [milliseconds since it was asked for, tokens so far], one for each event with a delta.
    samples: [],
  };
}

/** Whether more of it is to come. */
export function isRunning(answer) {
  return answer.state === WAITING || answer.state === STREAMING;
}

/** Whether it was cut off within its text, so that the model can go on with it. */
export function isCutOff({ state, end, text, toolCalls, settings }) {
  // The shape of an answer would be that of what is added.
  if (!text || toolCalls.length || settings.constraintKind) return false;
  return [STOPPED, INTERRUPTED, FAILED].includes(state) || (state === DONE && LIMITS.includes(end?.finishReason));
}

/** Whether it ended before anything of it came: its question is then left out of later ones. */
export function cameToNothing({ state, text, toolCalls }) {
  return [STOPPED, INTERRUPTED, FAILED].includes(state) && !text && !toolCalls.length;
}

/** Takes in one event that came `elapsedMs` after the question. */
export function applyEvent(answer, event, elapsedMs) {
  if (event.progress) applyProgress(answer, event.progress);
  else if (event.started) answer.started = event.started;
  else if (event.deltas) {
    const deltas = (event.deltas.deltas ?? []).filter((delta) => !delta.choice);
    for (const delta of deltas) applyDelta(answer, delta);
    answer.state = STREAMING;
    answer.wait = null;
    if (deltas.some((delta) => !delta.finished)) {
      addSample(answer, elapsedMs, Number(event.position ?? 0));
    }
  } else if (event.finished) {
    answer.usage = event.finished.usage ?? {};
    answer.timings = event.finished.timings ?? {};
    answer.state = DONE;
    answer.wait = null;
  }
}

function applyProgress(answer, progress) {
  if (progress.queued) {
    const { place = 1, expectedWait } = progress.queued;
    answer.queuePlace ??= place; // where it began
    answer.wait = { kind: "queued", place, expectedS: seconds(expectedWait) };
  } else if (progress.loading) {
    const { step = "", fraction } = progress.loading;
    answer.wait = { kind: "loading", step, fraction: fraction ?? null };
  } else if (progress.prefill) {
    const { numProcessedTokens = 0, numPromptTokens = 0 } = progress.prefill;
    answer.wait = { kind: "prefill", done: numProcessedTokens, of: numPromptTokens };
  }
}

function applyDelta(answer, delta) {
  if (delta.text) answer.text += delta.text.text ?? "";
  else if (delta.reasoning) answer.reasoning += delta.reasoning.text ?? "";
  else if (delta.toolCall) {
    const { index = 0, id, name, arguments: text = "" } = delta.toolCall;
    const call = (answer.toolCalls[index] ??= { id: "", name: "", arguments: "" });
    if (id) call.id = id;
    if (name) call.name = name;
    call.arguments += text;
  } else if (delta.finished) answer.end = delta.finished;
}

function addSample(answer, elapsedMs, numTokens) {
  answer.samples.push([Math.round(elapsedMs * 10) / 10, numTokens]);
  if (answer.samples.length > MAX_SAMPLES) {
    // Counts are cumulative: every other one still tells the same story.
    answer.samples = answer.samples.filter((_, index) => index % 2 === 0);
  }
}

/** Reads a duration of proto-JSON, such as "1.5s"; null where there is none. */
export function seconds(duration) {
  return duration === undefined ? null : parseFloat(duration);
}

/** What is known of an answer's speed; the server's own numbers once they are there. */
export function measured(answer) {
  const { samples, timings, usage, started } = answer;
  const [first, last] = [samples[0], samples.at(-1)];
  const spanS = first ? (last[0] - first[0]) / 1000 : 0;
  const ownRate = spanS > 0 ? (last[1] - first[1]) / spanS : null;
  return {
    ttftS: seconds(timings?.timeToFirstToken) ?? (first ? first[0] / 1000 : null),
    tokensPerS: timings?.tokensPerSecond || ownRate,
    numTokens: usage ? (usage.numCompletionTokens ?? 0) : (last?.[1] ?? 0),
    numReasoningTokens: usage?.numReasoningTokens ?? 0,
    numPromptTokens: usage?.numPromptTokens ?? started?.numPromptTokens ?? null,
    numCachedTokens: usage ? (usage.numCachedPromptTokens ?? 0) : (started?.numCachedPromptTokens ?? null),
    queuePlace: answer.queuePlace,
    queueS: seconds(timings?.queue),
  };
}
