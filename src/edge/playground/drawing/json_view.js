// JSON, set out and coloured.

import { element } from "./dom.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;

/** Returns the object or array that a text is; undefined where it is something else, or not whole. */
export function readJson(text) {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Shows a text of JSON: set out where it is whole, else as far as it came. */
export function jsonView(text) {
  const value = readJson(text);
  const shown = value === undefined ? text : JSON.stringify(value, null, 2);
  return element("pre", { class: "json", tabindex: 0 }, element("code", {}, ...jsonText(shown)));
}

/** Returns a text of JSON as nodes, each kind of value with a class of its own. */
export function jsonText(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(TOKEN)) {
    const [whole, string, colon, number] = found;
    nodes.push(text.slice(end, found.index));
    const kind = string ? (colon ? "key" : "string") : number ? "number" : "atom";
    nodes.push(element("span", { class: kind }, string ?? whole), colon ?? "");
    end = found.index + whole.length;
  }
  return [...nodes, text.slice(end)];
}
