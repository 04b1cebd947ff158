// Calls that the model asked for, and the results that a person gives them.

import { element } from "../drawing/dom.js";
import { jsonView } from "../drawing/json_view.js";
import { isRunning } from "../service/answer.js";

/** Shows the calls of an answer in `place`; `goOn` is called when each has its result. */
export function showToolCalls(place, answer, { isLast, goOn }) {
  const state = JSON.stringify([answer.toolCalls, isRunning(answer), isLast]);
  if (place.dataset.state === state) return; // what a person types is not taken away
  place.dataset.state = state;
  const calls = answer.toolCalls.filter(Boolean);
  const isOpen = isLast && !isRunning(answer) && calls.some((call) => call.result === undefined);
  const shown = calls.map((call, index) => callView(call, isOpen ? index : null));
  if (isOpen && calls.length) shown.push(resultButton(place, calls, goOn));
  place.replaceChildren(...shown);
}

function callView(call, index) {
  const name = element("h3", {}, "Calls ", element("code", {}, call.name));
  const view = element("section", { class: "call", "aria-label": `Call of ${call.name}` }, name);
  view.append(jsonView(call.arguments || "{}"));
  if (call.result !== undefined) {
    view.append(element("h4", {}, "Result"), jsonView(call.result));
  } else if (index !== null) {
    const field = element("textarea", {
      rows: 2,
      "aria-label": `Result of ${call.name}`,
      placeholder: "What the tool answers, as text or JSON",
    });
    view.append(field);
  }
  return view;
}

function resultButton(place, calls, goOn) {
  const send = () => {
    const fields = [...place.querySelectorAll("textarea")];
    const open = calls.filter((call) => call.result === undefined);
    open.forEach((call, index) => (call.result = fields[index].value));
    goOn();
  };
  const text = calls.length === 1 ? "Send the result" : "Send the results";
  return element("button", { type: "button", class: "plain", onclick: send }, text);
}
