// Code, emphasis and escapes within a paragraph, by the rules of CommonMark.

import { element } from "./dom.js";

// An escape, code, or a run of marks. Other backslashes, as of formulas and paths, stay as they are.
const PART = /\\([`*_#>~+.-])|(?<!`)(`+)(?!`)(.*?[^`])\2(?!`)|\*+|_+/gs;
const SPACE = /^\s?$/u;
const SIGN = /[\p{P}\p{S}]/u;
const MAX_MARKS = 3;
// So many emphases can be open at once; the marks of those outside stay characters.
const MAX_OPEN = 8;

/** Returns a text as nodes. Marks that belong to nothing stay the characters that they are. */
export function inline(text) {
  const nodes = [];
  let open = [];
  let end = 0;
  for (const found of text.matchAll(PART)) {
    const [whole, escaped, ticks, code] = found;
    nodes.push(text.slice(end, found.index));
    end = found.index + whole.length;
    if (escaped) nodes.push(escaped);
    else if (ticks) nodes.push(element("code", {}, code.replace(/^ (.*\S.*) $/s, "$1")));
    else open = closed(nodes, open, runOf(text, found.index, whole));
  }
  nodes.push(text.slice(end));
  return nodes;
}

/** Says of a run of marks whether it can begin an emphasis, and whether it can end one. */
function runOf(text, index, marks) {
  const before = [...text.slice(Math.max(0, index - 2), index)].at(-1) ?? "";
  const after = [...text.slice(index + marks.length, index + marks.length + 2)][0] ?? "";
  const [blankBefore, blankAfter] = [SPACE.test(before), SPACE.test(after)];
  const [signBefore, signAfter] = [SIGN.test(before), SIGN.test(after)];
  const left = !blankAfter && (!signAfter || blankBefore || signBefore);
  const right = !blankBefore && (!signBefore || blankAfter || signAfter);
  const isWhole = marks[0] === "_"; // inside of a word it is a part of the name
  const fits = marks.length <= MAX_MARKS;
  return {
    mark: marks[0],
    count: marks.length,
    length: marks.length,
    opens: fits && left && (!isWhole || !right || signBefore),
    closes: fits && right && (!isWhole || !left || signAfter),
  };
}

/** Ends with a run what it ends, in `nodes`; returns the runs that are then open. */
function closed(nodes, open, run) {
  let left = open;
  while (run.closes && run.count) {
    const index = left.findLastIndex((one) => one.mark === run.mark && goTogether(one, run));
    if (index < 0) break;
    const opener = left[index];
    const count = Math.min(opener.count, run.count, 2);
    const inner = nodes.splice(opener.at + 1);
    nodes.push(element(count === 2 ? "strong" : "em", {}, inner));
    opener.count -= count;
    run.count -= count;
    nodes[opener.at] = opener.mark.repeat(opener.count);
    // What began within the emphasis ends nothing any more.
    left = left.slice(0, opener.count ? index + 1 : index);
  }
  if (!run.count) return left;
  nodes.push(run.mark.repeat(run.count));
  if (!run.opens) return left;
  return [...left, { ...run, at: nodes.length - 1 }].slice(-MAX_OPEN);
}

/** A run that may begin as well as end goes with another only as CommonMark's rule of three has it. */
function goTogether(opener, closer) {
  if (!opener.closes && !closer.opens) return true;
  return (opener.length + closer.length) % 3 !== 0 || (opener.length % 3 === 0 && closer.length % 3 === 0);
}
