// A conversation and its settings as a ChatRequest, in proto-JSON.

import { cameToNothing } from "./answer.js";

// Where a request has what a setting says.
const PATHS = {
  "sampling.temperature": "temperature",
  "sampling.top_p": "topP",
  "sampling.max_tokens": "maxTokens",
  "sampling.seed": "seed",
  "sampling.stop": "stop",
  reasoning: "thinking",
  constraint: "constraint",
  tools: "tools",
};

/** Returns the setting that a path in a request comes of, or undefined. */
export function settingOf(path) {
  return Object.entries(PATHS).find(([known]) => `${path}.`.replace("[", ".").startsWith(`${known}.`))?.[1];
}

/** A setting that cannot be sent; `field` is its name. */
export class SettingError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** The settings that ask for nothing: the server's own defaults. */
export const DEFAULTS = Object.freeze({
  system: "",
  temperature: "",
  topP: "",
  maxTokens: "",
  seed: "",
  stop: "",
  thinking: "",
  constraintKind: "",
  constraint: "",
  tools: "",
});

/**
 * Returns the request that asks `model` to answer `turns`, or to go on with the text `begun`.
 * Raises SettingError.
 */
export function chatRequest(model, turns, settings, begun = "") {
  const request = { model, messages: messagesOf(turns, settings.system) };
  if (begun) {
    request.messages.push({ role: "ROLE_ASSISTANT", content: [{ text: begun }] });
    request.continue_last_message = true;
  }
  const tools = toolsOf(settings.tools);
  if (tools.length) request.tools = tools;
  if (settings.thinking) request.reasoning = { enabled: settings.thinking === "on" };
  const sampling = samplingOf(settings);
  if (Object.keys(sampling).length) request.sampling = sampling;
  const constraint = constraintOf(settings);
  if (constraint) request.constraint = constraint;
  return request;
}

function messagesOf(turns, system) {
  const messages = [];
  if (system.trim()) messages.push({ role: "ROLE_SYSTEM", content: [{ text: system }] });
  turns.forEach((turn, index) => {
    if (turn.role === "assistant") messages.push(...given(turn));
    else if (!isLeftOut(turns[index + 1])) messages.push(asked(turn));
  });
  return messages;
}

/** A refused question would be refused again, and two in a row are no conversation. */
function isLeftOut(next) {
  return next?.role === "assistant" && cameToNothing(next);
}

function asked(turn) {
  const images = (turn.images ?? []).filter((image) => image.url);
  const content = images.map((image) => ({ image: { url: image.url } }));
  if (turn.text || !content.length) content.push({ text: turn.text });
  return { role: "ROLE_USER", content };
}

function given(turn) {
  // A call that nobody answered would have the next turn refused.
  const calls = turn.toolCalls.filter((call) => call.result !== undefined);
  const message = { role: "ROLE_ASSISTANT" };
  if (turn.text) message.content = [{ text: turn.text }];
  if (calls.length) {
    message.tool_calls = calls.map(({ id, name, arguments: text }) => ({ id, name, arguments: text }));
  }
  if (!turn.text && !calls.length) return [];
  const results = calls.map((call) => ({
    role: "ROLE_TOOL",
    tool_call_id: call.id,
    content: [{ text: call.result }],
  }));
  return [message, ...results];
}

function samplingOf(settings) {
  const sampling = {
    temperature: number(settings, "temperature", "Temperature"),
    top_p: number(settings, "topP", "Top p"),
    max_tokens: number(settings, "maxTokens", "Max tokens", Number.isInteger),
    seed: number(settings, "seed", "Seed", Number.isInteger),
  };
  const stop = settings.stop.split("\n").filter((line) => line !== "");
  if (stop.length) sampling.stop = stop.map(unescaped);
  return Object.fromEntries(Object.entries(sampling).filter(([, value]) => value !== undefined));
}

function number(settings, field, label, fits = Number.isFinite) {
  const text = String(settings[field]).trim();
  if (!text) return undefined;
  const value = Number(text);
  if (!fits(value)) {
    const kind = fits === Number.isInteger ? "a whole number" : "a number";
    throw new SettingError(field, `${label} takes ${kind}.`);
  }
  return value;
}

/** A stop string is one line; `\n` in it is a line feed, `\\` a backslash. */
function unescaped(line) {
  return line.replace(/\\(n|t|\\)/g, (_, kind) => ({ n: "\n", t: "\t", "\\": "\\" })[kind]);
}

function constraintOf({ constraintKind: kind, constraint }) {
  if (kind === "json_object") return { json_object: true };
  if (!kind || !constraint.trim()) return undefined;
  if (kind === "json_schema") parsed("constraint", constraint, "The JSON Schema");
  if (kind === "choice") return { choice: { values: constraint.split("\n").filter(Boolean) } };
  return { [kind]: constraint };
}

function toolsOf(text) {
  if (!text.trim()) return [];
  const tools = parsed("tools", text, "The list of tools");
  if (!Array.isArray(tools)) throw new SettingError("tools", "Tools are a JSON array.");
  return tools.map((tool) => {
    const described = tool?.function ?? tool; // as OpenAI writes them, or bare
    if (!described?.name) throw new SettingError("tools", "Each tool needs a name.");
    const { name, description = "", parameters } = described;
    return {
      name,
      ...(description && { description }),
      ...(parameters && { parameters_schema: JSON.stringify(parameters) }),
    };
  });
}

function parsed(field, text, label) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SettingError(field, `${label} is no JSON: ${error.message}`);
  }
}
