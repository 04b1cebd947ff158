// The turns of a conversation, or what to begin with.

import { element, iconButton } from "../drawing/dom.js";
import { AnswerView } from "./answer_view.js";
import { modelFacts, shortName } from "./model_picker.js";

const STARTERS = [
  "Explain why the sky is blue, to a child.",
  "Write a haiku about streaming.",
  "List three uses of a lighthouse, with one sentence each.",
];
// Closer to the end than this, the page follows the answer.
const NEAR_PX = 96;
// After a picture of the answer the page rests this many times as long as it took to draw: it stays
// at hand for whoever reads and types, however long the answer grows.
const RESTS = 3;

export class ConversationView {
  #views = new Map();
  #waiting = new Set();
  #isPlanned = false;
  #restsUntilMs = 0;
  #model = null;
  #needsKey = false;

  /** `does` has `start`, `edit`, `regenerate`, `extend`, `goOn`, `copyAs` and `left`. */
  constructor(place, conversation, does) {
    this.place = place;
    this.conversation = conversation;
    this.does = does;
  }

  /** Shows the turns as they are now. */
  showTurns() {
    const { turns, isEmpty } = this.conversation;
    this.#views = new Map([...this.#views].filter(([turn]) => turns.includes(turn)));
    this.place.classList.toggle("empty", isEmpty);
    this.place.replaceChildren(
      ...(isEmpty ? [this.#start()] : turns.map((turn, index) => this.#nodeOf(turn, index))),
    );
    for (const [turn, view] of this.#views) view.show(turn === turns.at(-1));
    scrollTo({ top: document.documentElement.scrollHeight });
  }

  /** Shows what came of an answer, with the next picture of the screen that there is time for. */
  showAnswer(answer) {
    this.#waiting.add(answer);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    const restsMs = this.#restsUntilMs - performance.now();
    const plan = () => requestAnimationFrame(() => this.#draw());
    if (restsMs > 0) setTimeout(plan, restsMs);
    else plan();
  }

  /** Says whom a new conversation is with. */
  showModel(model) {
    this.#model = model;
    if (this.conversation.isEmpty) this.showTurns();
  }

  /** Says in a new conversation that the service needs an API key first. */
  showKey(isNeeded) {
    if (isNeeded === this.#needsKey) return;
    this.#needsKey = isNeeded;
    if (this.conversation.isEmpty) this.showTurns();
  }

  /** Begins to change the last question. */
  editLast() {
    const index = this.conversation.turns.findLastIndex((turn) => turn.role === "user");
    if (index >= 0) this.#edit(index);
  }

  #draw() {
    this.#isPlanned = false;
    const answers = [...this.#waiting];
    this.#waiting.clear();
    const beganMs = performance.now();
    const follows = isNearEnd();
    const last = this.conversation.turns.at(-1);
    for (const answer of answers) this.#views.get(answer)?.show(answer === last);
    if (follows) scrollTo({ top: document.documentElement.scrollHeight });
    const endedMs = performance.now();
    this.#restsUntilMs = endedMs + RESTS * (endedMs - beganMs);
  }

  #nodeOf(turn, index) {
    if (turn.role === "user") return this.#question(turn, index);
    if (!this.#views.has(turn)) {
      const at = () => this.conversation.turns.indexOf(turn);
      const does = {
        regenerate: () => this.does.regenerate(at()),
        extend: () => this.does.extend(at()),
        // The service goes on with no answer beside images.
        mayExtend: () => !this.conversation.turns.some((one) => one.images?.length),
        copyAs: () => this.does.copyAs(at()),
        goOn: () => this.does.goOn(),
      };
      this.#views.set(turn, new AnswerView(turn, does));
    }
    return this.#views.get(turn).node;
  }

  #question({ text, images = [] }, index) {
    const shown = images.map(({ url, name }) => {
      return url ? element("img", { src: url, alt: name }) : element("span", { class: "gone" }, name);
    });
    const edit = iconButton("edit", "Edit the message", () => this.#edit(index));
    return element(
      "article",
      { class: "turn question", "aria-label": "Your message" },
      element("div", { class: "bubble" }, ...shown, ...(text ? [element("p", {}, text)] : [])),
      element("div", { class: "actions" }, edit),
    );
  }

  #edit(index) {
    const turn = this.conversation.turns[index];
    const field = element("textarea", { "aria-label": "Edit the message", rows: 2 });
    field.value = turn.text;
    const leave = () => {
      this.showTurns();
      this.does.left();
    };
    const form = element(
      "form",
      {
        class: "turn question editing",
        onsubmit: (event) => {
          event.preventDefault();
          if (this.does.edit(index, field.value)) this.does.left();
        },
        onkeydown: (event) => {
          if (event.key === "Escape") {
            event.preventDefault();
            leave();
          } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            form.requestSubmit();
          }
        },
      },
      field,
      element(
        "div",
        { class: "row" },
        element("button", { type: "button", class: "plain", onclick: leave }, "Cancel"),
        element("button", { class: "strong" }, "Ask again"),
      ),
    );
    this.place.children[index].replaceWith(form);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  #start() {
    const model = this.#model;
    const without = this.#needsKey ? "This service needs an API key: it goes into the settings." : "Looking for models…";
    const starters = STARTERS.map((text) => {
      return element("button", { type: "button", class: "starter", onclick: () => this.does.start(text) }, text);
    });
    return element(
      "div",
      { class: "start" },
      element("h1", {}, model ? `Ask ${shortName(model.id)}` : "Playground"),
      element("p", { class: "facts" }, model ? modelFacts(model) : without),
      element("div", { class: "starters" }, ...starters),
    );
  }
}

function isNearEnd() {
  const { scrollHeight, clientHeight } = document.documentElement;
  return scrollHeight - clientHeight - scrollY < NEAR_PX;
}
