// One answer: thinking, text, calls, what it waits for, how it ended, and what was measured.

import { element, iconButton } from "../drawing/dom.js";
import { jsonView, readJson } from "../drawing/json_view.js";
import { showMarkdown } from "../drawing/markdown.js";
import { cameToNothing, FAILED, INTERRUPTED, isCutOff, isRunning, STOPPED } from "../service/answer.js";
import { copyOrMark, MARKED } from "./clipboard.js";
import { failureNotice } from "./failure.js";
import { counted, duration, showFigures } from "./figures.js";
import { showToolCalls } from "./tool_calls.js";

const COPY = "Copy the answer";

export class AnswerView {
  #shownFailure = null;

  /** `does` has `regenerate`, `extend`, `mayExtend`, `copyAs` and `goOn`. */
  constructor(answer, does) {
    this.answer = answer;
    this.does = does;
    this.thought = element("div", { class: "prose" });
    this.thinkingTitle = element("summary");
    this.thinking = element("details", { class: "thinking", hidden: true }, this.thinkingTitle, this.thought);
    this.text = element("div", { class: "prose" });
    this.calls = element("div", { class: "calls" });
    this.wait = element("p", { class: "wait" });
    this.mark = element("p", { class: "mark" });
    this.extend = element("button", { type: "button", class: "plain", onclick: () => does.extend() }, "Continue");
    this.failure = element("div");
    this.figures = element("div", { class: "measured" });
    this.actions = element("div", { class: "actions" }, ...this.#buttons());
    this.node = element(
      "article",
      { class: "turn answer", "aria-label": `Answer of ${answer.model}` },
      this.thinking,
      this.text,
      this.calls,
      this.wait,
      this.mark,
      this.failure,
      this.extend,
      this.figures,
      this.actions,
    );
  }

  /** Shows what is there now: whatever a model wrote, at worst as it came. */
  show(isLast) {
    const { answer } = this;
    const runs = isRunning(answer);
    this.node.dataset.state = answer.state;
    this.node.setAttribute("aria-busy", String(runs));
    this.actions.hidden = runs;
    try {
      this.#draw(isLast, runs);
    } catch (error) {
      console.error(error);
      this.text.replaceChildren(element("p", {}, answer.text));
    }
  }

  #draw(isLast, runs) {
    const { answer } = this;
    const isWaiting = runs && answer.text === answer.begun && (answer.begun || !answer.reasoning);
    this.wait.textContent = isWaiting ? waitText(answer.wait) : "";
    this.mark.textContent = markOf(answer);
    this.extend.hidden = !(isLast && isCutOff(answer) && this.does.mayExtend());
    this.#showFailure();
    this.#showThinking();
    this.#showText();
    showToolCalls(this.calls, answer, { isLast, goOn: this.does.goOn });
    showFigures(this.figures, answer);
  }

  #showThinking() {
    const { answer } = this;
    this.thinking.hidden = !answer.reasoning;
    if (!answer.reasoning) return;
    const thinks = isRunning(answer) && !answer.text && !answer.toolCalls.length;
    const numTokens = answer.usage?.numReasoningTokens;
    const size = numTokens ? `, ${counted(numTokens)} tokens` : "";
    this.thinkingTitle.textContent = thinks ? "Thinking…" : `Thinking${size}`;
    this.thinkingTitle.classList.toggle("live", thinks);
    showMarkdown(this.thought, answer.reasoning.trim());
  }

  #showText() {
    const { answer } = this;
    if (!isRunning(answer) && readJson(answer.text) !== undefined) {
      this.text.replaceChildren(jsonView(answer.text));
    } else if (answer.settings.constraintKind.startsWith("json")) {
      this.text.replaceChildren(...(answer.text ? [jsonView(answer.text)] : []));
    } else showMarkdown(this.text, answer.text);
  }

  #showFailure() {
    const { failure } = this.answer;
    if (failure === this.#shownFailure) return;
    this.#shownFailure = failure;
    this.failure.replaceChildren(
      ...(failure ? [failureNotice(failure, () => this.does.regenerate())] : []),
    );
  }

  #buttons() {
    const copy = iconButton("copy", COPY, async (event) => {
      const button = event.currentTarget;
      const isCopied = await copyOrMark(this.answer.text, this.text);
      button.ariaLabel = button.title = isCopied ? COPY : MARKED;
      button.classList.toggle("done", isCopied);
      setTimeout(() => button.classList.remove("done"), 1200);
    });
    return [
      copy,
      iconButton("again", "Answer again", () => this.does.regenerate()),
      iconButton("code", "Copy as curl, grpcurl or Python", () => this.does.copyAs()),
    ];
  }
}

function waitText(wait) {
  if (!wait) return "Waiting for the first token";
  if (wait.kind === "queued") {
    const about = wait.expectedS === null ? "" : `, about ${duration(wait.expectedS)}`;
    return `In the queue: place ${wait.place}${about}`;
  }
  if (wait.kind === "loading") {
    const part = wait.fraction === null ? "" : `, ${Math.round(wait.fraction * 100)} %`;
    return `Loading the model${part}${wait.step ? `: ${wait.step}` : ""}`;
  }
  return `Reading the prompt: ${counted(wait.done)} of ${counted(wait.of)} tokens`;
}

function markOf(answer) {
  const left = cameToNothing(answer) ? "Later messages go without this question." : "";
  return [endOf(answer), left].filter(Boolean).join(" ");
}

function endOf({ state, end, failure, started }) {
  if (state === STOPPED) return "Stopped.";
  if (state === INTERRUPTED) return "Interrupted: the page was left while the answer came.";
  if (state === FAILED) return failure ? "" : "Failed.";
  const reason = end?.finishReason;
  if (reason === "FINISH_REASON_LENGTH") {
    const most = started?.maxTokens ? ` of ${counted(started.maxTokens)} tokens` : "";
    return `Cut off at the limit${most}.`;
  }
  if (reason === "FINISH_REASON_TIME_LIMIT") return "Cut off at the time limit.";
  if (reason === "FINISH_REASON_STOP" && end.stop) return `Ended by the stop string ${JSON.stringify(end.stop)}.`;
  return "";
}
