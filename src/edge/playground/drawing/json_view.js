// JSON, set out and coloured.

import { element } from "./dom.js";

// A string that has not ended yet is one, too.
const TOKEN = /("(?:[^"\\]|\\.?)*"?)(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/gs;
// What stands between strings; numbers are left as they were written.
const JOINT = /"(?:[^"\\]|\\.)*"|\s+|[[{]\s*[\]}]|[[{\]},:]/g;
const MAX_INDENTED = 24;

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
  const shown = readJson(text) === undefined ? text : setOut(text);
  return element("pre", { class: "json", tabindex: 0 }, element("code", {}, jsonText(shown)));
}

/** Breaks and indents a text of whole JSON, which holds what it held: long numbers, keys given twice. */
function setOut(text) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, MAX_INDENTED))}`;
  return text.replace(JOINT, (joint) => {
    if (joint[0] === '"') return joint;
    if (joint === ":") return ": ";
    if (joint === ",") return `,${line()}`;
    if (!joint.trim()) return "";
    if (joint.length > 1) return joint[0] + joint.at(-1);
    depth += "[{".includes(joint) ? 1 : -1;
    return "[{".includes(joint) ? joint + line() : line() + joint;
  });
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
