// Calls of the service, over its own routes: canonical proto-JSON.

import { readEvents } from "./events.js";
import { readSession, writeSession } from "../storage.js";

const KEY = "tokenwire.key";

/** What the service refused or could not do, in its own words. */
export class CallFailed extends Error {
  constructor({ message, reason = "", httpStatus = 0, retryAfterS = 0, requestId = "", field = "" }) {
    super(message);
    this.reason = reason;
    this.httpStatus = httpStatus;
    this.retryAfterS = retryAfterS;
    this.requestId = requestId;
    this.field = field; // the path of what was refused
  }

  get needsKey() {
    return this.reason === "UNAUTHENTICATED" || this.httpStatus === 401;
  }
}

/** The API key of this tab: it is forgotten with it. */
export const apiKey = {
  get: () => readSession(KEY) ?? "",
  set: (key) => writeSession(KEY, key.trim()),
};

/** Lists the models and where each one stands. */
export async function listModels() {
  const response = await call("/tokenwire/v1/models", {});
  return (await response.json()).models ?? [];
}

/** Tells what the page cannot know by itself: version, port of gRPC. */
export async function describeService() {
  return (await call("/playground/service.json", {})).json();
}

/** Yields the events of an answer. Aborting `signal` cancels it, and the engine frees its slot. */
export async function* streamChat(request, signal) {
  const response = await call("/tokenwire/v1/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });
  const requestId = response.headers.get("X-Request-Id") ?? "";
  let isWhole = false;
  try {
    for await (const event of readEvents(response.body)) {
      if (event.error) throw failureOf(event.error, { requestId });
      isWhole = "finished" in event;
      yield event;
    }
  } catch (error) {
    if (error instanceof TypeError) throw lostConnection(requestId);
    throw error;
  }
  if (!isWhole) throw lostConnection(requestId);
}

async function call(path, options) {
  const key = apiKey.get();
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error instanceof TypeError) throw lostConnection("");
    throw error;
  }
  if (response.ok) return response;
  const told = {
    httpStatus: response.status,
    retryAfterS: Number(response.headers.get("Retry-After")) || 0,
    requestId: response.headers.get("X-Request-Id") ?? "",
  };
  const status = await response.json().catch(() => null);
  throw failureOf(status ?? { message: `HTTP status ${response.status}` }, told);
}

/** Reads a `google.rpc.Status`. */
function failureOf(status, told) {
  const details = status.details ?? [];
  const detail = (name) => details.find((one) => one["@type"]?.endsWith(`.${name}`));
  return new CallFailed({
    ...told,
    message: status.message || status.error?.message || "The service gave no reason.",
    reason: detail("ErrorInfo")?.reason ?? "",
    field: detail("BadRequest")?.fieldViolations?.[0]?.field ?? "",
    retryAfterS: told.retryAfterS || parseFloat(detail("RetryInfo")?.retryDelay) || 0,
  });
}

function lostConnection(requestId) {
  return new CallFailed({
    message: "The connection to the service was lost.",
    reason: "CONNECTION_LOST",
    requestId,
  });
}
