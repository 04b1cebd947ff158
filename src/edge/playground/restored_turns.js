// What a tab kept of a conversation, where it is one: another release may have written it.

import { newAnswer } from "./service/answer.js";
import { DEFAULTS } from "./service/request.js";

const QUESTION = { role: "", text: "" };
const IMAGE = { name: "", url: "" };
const CALL = { id: "", name: "", arguments: "" };
const ANSWER = newAnswer("", DEFAULTS);

/** Returns the turns that a text holds; null where one of them is none. */
export function readTurns(text) {
  try {
    const turns = JSON.parse(text);
    return isListOf(turns, isTurn) ? turns : null;
  } catch {
    return null;
  }
}

function isTurn(turn) {
  if (turn?.role === "assistant") {
    const holds = fits(turn, ANSWER) && fits(turn.settings, DEFAULTS);
    return holds && isListOf(turn.toolCalls, (call) => fits(call, CALL)) && isListOf(turn.samples, Array.isArray);
  }
  return turn?.role === "user" && fits(turn, QUESTION) && isListOf(turn.images ?? [], (image) => fits(image, IMAGE));
}

function isListOf(value, isOne) {
  return Array.isArray(value) && value.every(isOne);
}

/** Whether a value has the fields of another, each of the same kind; null stands for any. */
function fits(value, like) {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(like).every(([name, one]) => one === null || kindOf(value[name]) === kindOf(one));
}

function kindOf(value) {
  if (Array.isArray(value)) return "array";
  return value === null ? "null" : typeof value;
}
