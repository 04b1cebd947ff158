// Small plots of an answer while it comes: how fast, and how evenly.

import { drawn } from "./dom.js";

const WIDTH = 168;
const HEIGHT = 36;
const MAX_POINTS = 84;
// A rate is that of the last second, or of as much as there is.
const WINDOW_MS = 1000;

/** Returns [time in ms, tokens a second] for each sample that is old enough to tell. */
export function rates(samples) {
  const [firstMs, lastMs] = [samples[0][0], samples.at(-1)[0]];
  // Of the first two tokens the rate would be a matter of chance.
  const fromMs = firstMs + Math.min(WINDOW_MS / 2, (lastMs - firstMs) / 4);
  let oldest = 0;
  const points = samples.map(([time, count], index) => {
    while (oldest < index && samples[oldest][0] < time - WINDOW_MS) oldest += 1;
    const [sinceMs, before] = samples[oldest];
    return [time, time > sinceMs ? ((count - before) * 1000) / (time - sinceMs) : 0];
  });
  return points.filter(([time]) => time > fromMs);
}

/** Returns [time in ms, gap in ms] between the tokens of each sample and of the one before. */
export function gaps(samples) {
  return samples.slice(1).map(([time, count], index) => {
    const [before, fewer] = samples[index];
    return [time, (time - before) / Math.max(count - fewer, 1)];
  });
}

/** Draws a line over time, from zero; `label` says in words what it shows. */
export function linePlot(points, label) {
  if (points.length < 2) return frame(label);
  const { x, y } = scales(points);
  const line = points.map(([time, value]) => `${x(time)} ${y(value)}`).join("L");
  const area = `M${x(points[0][0])} ${HEIGHT}L${line}L${x(points.at(-1)[0])} ${HEIGHT}Z`;
  return frame(label, drawn("path", { class: "area", d: area }), drawn("path", { class: "line", d: `M${line}` }));
}

/** Draws a bar for each point. */
export function barPlot(points, label) {
  if (points.length < 2) return frame(label);
  const highest = thinned(points);
  const { y } = scales(highest);
  const step = WIDTH / highest.length;
  const bars = highest.map(([, value], index) => `M${round(index * step + step / 2)} ${HEIGHT}V${y(value)}`);
  return frame(label, drawn("path", { class: "bars", d: bars.join(""), "stroke-width": round(Math.min(step * 0.6, 3)) }));
}

function frame(label, ...children) {
  const size = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  const ground = drawn("path", { class: "ground", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
  return drawn("svg", { class: "plot", role: "img", "aria-label": label, ...size }, ground, ...children);
}

function scales(points) {
  const [from, to] = [points[0][0], points.at(-1)[0]];
  const highest = Math.max(...points.map(([, value]) => value)) || 1;
  return {
    x: (time) => round(((time - from) / (to - from || 1)) * WIDTH),
    y: (value) => round(HEIGHT - 1 - (value / highest) * (HEIGHT - 4)),
  };
}

/** Keeps the longest gap of each stretch: one stall among many tokens is what matters. */
function thinned(points) {
  const stretch = Math.ceil(points.length / MAX_POINTS);
  const kept = [];
  for (let index = 0; index < points.length; index += stretch) {
    const part = points.slice(index, index + stretch);
    kept.push(part.reduce((one, other) => (other[1] > one[1] ? other : one)));
  }
  return kept;
}

function round(value) {
  return Math.round(value * 10) / 10;
}
