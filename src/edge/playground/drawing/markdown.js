// The Markdown that models write, as nodes: paragraphs, headings, lists, quotes, code, emphasis.
// Links, images and raw HTML stay the text that they are: a model may have been told to lure.

import { element } from "./dom.js";
import { inline } from "./inline.js";
import { jsonText } from "./json_view.js";

const FENCE = /^\s{0,3}(`{3,}(?=[^`]*$)|~{3,})\s*(.*)/s;
const HEADING = /^(#{1,6})\s+(.*)/s;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)/s;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
// Quotes and lists further inside than this stay the characters that they are: browsers cannot lay
// out what is nested a thousand times.
const MAX_DEPTH = 12;

/**
 * Shows `text` in `place`. Called again with a longer text it leaves the blocks alone that stayed
 * the same, and with them what a person has selected there.
 */
export function showMarkdown(place, text, depth = 0) {
  const blocks = blocksOf(text.split("\n"), depth);
  blocks.forEach((block, index) => {
    const source = block.kind + block.lines.join("\n");
    const old = place.children[index];
    if (old?.source === source) return;
    const node = DRAWERS[block.kind](block, depth);
    node.source = source;
    if (old) old.replaceWith(node);
    else place.append(node);
  });
  while (place.children.length > blocks.length) place.lastElementChild.remove();
}

function blocksOf(lines, depth) {
  const blocks = [];
  let index = 0;
  const take = (kind, belongs) => {
    const block = { kind, lines: [lines[index++]] };
    while (index < lines.length && belongs(lines[index])) block.lines.push(lines[index++]);
    blocks.push(block);
  };
  while (index < lines.length) {
    const line = lines[index];
    const fence = FENCE.exec(line);
    if (!line.trim()) index += 1;
    else if (fence) {
      const mark = fence[1];
      const ends = (other) => other.trim().startsWith(mark) && !other.trim().replaceAll(mark[0], "");
      take("code", (other) => !ends(other));
      if (index < lines.length) index += 1; // the fence that closes it
    } else if (HEADING.test(line)) take("heading", () => false);
    else if (RULE.test(line)) take("rule", () => false);
    else if (ITEM.test(line)) {
      take("list", (other) => (ITEM.test(other) ? !isOtherList(line, other) : /^\s+\S/.test(other)));
    }
    else if (line.startsWith(">") && depth < MAX_DEPTH) take("quote", (other) => other.startsWith(">"));
    else take("paragraph", (other) => other.trim() && !startsBlock(other));
  }
  return blocks;
}

/** Whether an item begins a list of the other kind beside the one that began with `first`. */
function isOtherList(first, other) {
  const [[, margin, mark], [, otherMargin, otherMark]] = [ITEM.exec(first), ITEM.exec(other)];
  return isNumber(mark) !== isNumber(otherMark) && margin.length === otherMargin.length;
}

function isNumber(mark) {
  return /\d/.test(mark);
}

function startsBlock(line) {
  return [FENCE, HEADING, ITEM, RULE].some((start) => start.test(line)) || line.startsWith(">");
}

const DRAWERS = {
  paragraph: ({ lines }) => element("p", {}, inline(lines.join("\n"))),
  // The page has its own headings above: those of a text stand below them.
  heading: ({ lines }) => {
    const [, marks, title] = HEADING.exec(lines[0]);
    return element(`h${Math.min(marks.length + 2, 6)}`, {}, inline(title));
  },
  rule: () => element("hr"),
  quote: ({ lines }, depth) => {
    const quote = element("blockquote");
    showMarkdown(quote, lines.map((line) => line.replace(/^>\s?/, "")).join("\n"), depth + 1);
    return quote;
  },
  code: ({ lines }) => {
    const language = FENCE.exec(lines[0])[2].trim();
    const text = lines.slice(1).join("\n");
    const shown = language === "json" ? jsonText(text) : text;
    // Focus reaches it: wide code is scrolled with the keyboard, too.
    return element("pre", { tabindex: 0, "data-language": language || null }, element("code", {}, shown));
  },
  list: ({ lines }, depth) => {
    return list(lines.map((line) => ITEM.exec(line) ?? [line, "", "", line.trim()]), depth);
  },
};

/** Makes a list of matched items; those further to the right are lists in the item before. */
function list(items, depth) {
  const [, margin, mark] = items[0];
  const isOrdered = isNumber(mark);
  const start = isOrdered ? parseInt(mark, 10) : 1;
  const node = element(isOrdered ? "ol" : "ul", { start: start > 1 ? start : null });
  for (let index = 0; index < items.length; index += 1) {
    const [, , own, text] = items[index];
    const item = element("li", {}, inline(isNumber(own) === isOrdered ? text : `${own} ${text}`));
    const inner = [];
    while (index + 1 < items.length && isInside(items[index + 1], margin)) inner.push(items[++index]);
    const first = depth < MAX_DEPTH ? inner.findIndex((one) => one[2]) : -1;
    for (const [, , itsMark, more] of first < 0 ? inner : inner.slice(0, first)) {
      item.append("\n", ...inline(itsMark ? `${itsMark} ${more}` : more));
    }
    if (first >= 0) item.append(list(inner.slice(first), depth + 1));
    node.append(item);
  }
  return node;
}

function isInside([, margin, mark], outer) {
  return !mark || margin.length > outer.length + 1;
}
