// What is measured of an answer, in numbers and two small plots.

import { element } from "../drawing/dom.js";
import { barPlot, gaps, linePlot, rates } from "../drawing/plot.js";
import { isRunning, measured } from "../service/answer.js";

// Fewer tell nothing about evenness.
const MIN_SAMPLES = 4;

/** Shows the numbers and plots of an answer in `place`, anew each time. */
export function showFigures(place, answer) {
  const figures = figuresOf(measured(answer), answer);
  if (!figures.length) {
    place.replaceChildren();
    return;
  }
  const list = element("dl", { class: "figures" }, ...figures.map(figure));
  place.replaceChildren(...(answer.samples.length < MIN_SAMPLES ? [] : [plots(answer)]), list);
}

function figuresOf(values, answer) {
  const { queuePlace, queueS, numPromptTokens, numCachedTokens } = values;
  const told = [];
  const add = (name, value, hint) => told.push({ name, value, hint });
  if (values.ttftS !== null) add("TTFT", duration(values.ttftS), "Time to the first token");
  if (values.tokensPerS) {
    add("Speed", `${rounded(values.tokensPerS)} tokens/s`, "Tokens after the first, per second");
  }
  if (values.numTokens) {
    const thought = values.numReasoningTokens;
    const more = thought ? ` (${counted(thought)} thinking)` : "";
    add("Answer", `${counted(values.numTokens)} tokens${more}`, "Tokens generated");
  }
  if (numPromptTokens !== null) {
    add("Prompt", `${counted(numPromptTokens)} tokens`, "Tokens of the prompt, template included");
  }
  if (numCachedTokens !== null) {
    add("Cached", counted(numCachedTokens), "Prompt tokens found in the prefix cache");
  }
  if (queuePlace !== null) {
    const wait = queueS === null ? "" : `, ${duration(queueS)}`;
    add("Queue", `place ${queuePlace}${wait}`, "Place in the queue at first, and the wait");
  } else if (answer.timings) add("Queue", "none", "A slot was free at once");
  return told;
}

function figure({ name, value, hint }) {
  return element("div", { title: hint }, element("dt", {}, name), element("dd", {}, value));
}

function plots(answer) {
  const perS = rates(answer.samples);
  const between = gaps(answer.samples);
  const longest = Math.max(...between.map(([, gap]) => gap)) / 1000;
  const current = isRunning(answer) ? (perS.at(-1)?.[1] ?? 0) : Math.max(0, ...perS.map(([, rate]) => rate));
  const rate = `${isRunning(answer) ? "now" : "peak"} ${rounded(current)}`;
  const gap = `longest ${duration(longest)}`;
  return element(
    "div",
    { class: "plots" },
    plot("Tokens/s", rate, linePlot(perS, `Tokens a second over time, ${rate}`)),
    plot("Gaps", gap, barPlot(between, `Gaps between tokens over time, ${gap}`)),
  );
}

function plot(name, value, drawing) {
  const caption = element("figcaption", {}, element("b", {}, name), ` ${value}`);
  return element("figure", {}, drawing, caption);
}

/** Writes seconds in the unit that reads best. */
export function duration(timeS) {
  if (timeS < 0.0095) return `${(timeS * 1000).toFixed(1)} ms`;
  return timeS < 0.9995 ? `${Math.round(timeS * 1000)} ms` : `${timeS.toFixed(timeS < 9.995 ? 2 : 1)} s`;
}

/** Writes a number of things. */
export function counted(number) {
  return number.toLocaleString("en");
}

function rounded(value) {
  return value < 99.95 ? value.toFixed(1) : counted(Math.round(value));
}
