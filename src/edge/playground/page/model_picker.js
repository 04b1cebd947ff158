// The models of the server: which there are, where each one stands, and which one answers.

import { element } from "../drawing/dom.js";
import { listModels } from "../service/calls.js";
import { readLasting, writeLasting } from "../storage.js";

const NAME = "tokenwire.model";
const SOON_MS = 1500;
const LATER_MS = 15_000;
const STATES = {
  MODEL_STATE_SERVING: "serving",
  MODEL_STATE_LOADING: "loading",
  MODEL_STATE_UNLOADED: "unloaded",
  MODEL_STATE_FAILED: "failed",
};
const ABILITIES = {
  chat: "chat",
  tools: "tools",
  reasoning: "thinking",
  images: "images",
  seeds: "seeds",
  logprobs: "log-probabilities",
  fillInTheMiddle: "fill in the middle",
};

/** Returns the last part of a model's id. */
export function shortName(id) {
  return id.split("/").at(-1);
}

/** Says in one line what a model is and where it runs. */
export function modelFacts({ engine, device, numParameters, contextLength, baseModel }) {
  const facts = [
    baseModel && `adapter of ${shortName(baseModel)}`,
    engine,
    device,
    Number(numParameters) ? `${compact(Number(numParameters))} parameters` : "",
    contextLength ? `${contextLength.toLocaleString("en")} tokens of context` : "",
  ];
  return facts.filter(Boolean).join(" · ");
}

export class ModelPicker {
  #timer = null;
  #models = [];
  #shown = "";
  #problem = "";
  #needsKey = false;
  #numFailures = 0;

  /**
   * `tells.changed(model)` when another one answers or it stands elsewhere, `tells.answered(needsKey)`
   * each time that the server was asked.
   */
  constructor(button, menu, tells) {
    this.button = button;
    this.menu = menu;
    this.tells = tells;
    this.chosen = readLasting(NAME) ?? "";
    this.name = element("span", { class: "name" }, "Models");
    this.dot = element("span", { class: "dot" });
    button.replaceChildren(this.dot, this.name, element("span", { class: "state" }));
    menu.addEventListener("toggle", (event) => {
      button.setAttribute("aria-expanded", String(event.newState === "open"));
      if (event.newState === "open") {
        this.refresh();
        menu.querySelector("input:checked")?.focus();
      }
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // else it presses the button, too
      menu.hidePopover();
      button.focus();
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** Asks for the models now, and again later: sooner while one is loading. */
  async refresh() {
    clearTimeout(this.#timer);
    try {
      this.#models = await listModels();
      this.#problem = this.#models.length ? "" : "This server has no models.";
      this.#needsKey = false;
    } catch (error) {
      this.#problem = error.message;
      this.#needsKey = Boolean(error.needsKey);
    }
    this.#numFailures = this.#problem ? this.#numFailures + 1 : 0;
    this.tells.answered(this.#needsKey);
    this.#show();
    clearTimeout(this.#timer);
    if (this.#needsKey) return; // until there is another one
    this.#timer = setTimeout(() => document.hidden || this.refresh(), this.#pauseMs());
  }

  #pauseMs() {
    if (this.#problem) return Math.min(SOON_MS * 2 ** (this.#numFailures - 1), LATER_MS);
    return this.#models.some((model) => stateOf(model) === "loading") ? SOON_MS : LATER_MS;
  }

  #show() {
    const state = JSON.stringify([this.#models, this.#problem, this.chosen]);
    if (state === this.#shown) return;
    this.#shown = state;
    const known = this.#models.find((model) => model.id === this.chosen);
    const serving = this.#models.find((model) => stateOf(model) === "serving");
    const model = known ?? serving ?? this.#models[0];
    if (model) this.chosen = model.id;
    const standing = this.#problem ? "failed" : model ? stateOf(model) : "unloaded";
    this.dot.dataset.state = standing;
    this.name.textContent = model ? shortName(model.id) : this.#needsKey ? "API key needed" : "No model";
    this.button.lastElementChild.textContent = this.#standing(model);
    this.button.title = this.#problem || (model?.id ?? "");
    const focused = this.menu.contains(document.activeElement);
    this.menu.replaceChildren(...this.#entries());
    if (focused) this.menu.querySelector("input:checked")?.focus();
    if (model) this.tells.changed(model);
  }

  #standing(model) {
    if (this.#needsKey) return model ? "API key needed" : "";
    return this.#problem ? "unreachable" : stateText(model);
  }

  #entries() {
    const title = element("h2", {}, "Models");
    const problem = this.#problem ? [element("p", { class: "problem" }, this.#problem)] : [];
    return [title, ...problem, ...this.#models.map((model) => this.#entry(model))];
  }

  #entry(model) {
    const [owner, name] = [model.id.slice(0, -shortName(model.id).length), shortName(model.id)];
    const choice = element("input", {
      type: "radio",
      name: "model",
      value: model.id,
      checked: model.id === this.chosen,
      onchange: () => this.#choose(model),
      onclick: (event) => event.detail && this.menu.hidePopover(), // with a pointer, not with arrows
    });
    const abilities = Object.entries(ABILITIES)
      .filter(([field]) => model.capabilities?.[field])
      .map(([, word]) => word);
    const constraints = model.capabilities?.constraints ?? [];
    if (constraints.length) abilities.push("constraints");
    const notes = [model.failure, model.progress].filter(Boolean);
    return element(
      "label",
      { class: "model" },
      choice,
      element("span", { class: "dot", "data-state": stateOf(model) }),
      element("span", { class: "title" }, element("span", { class: "owner" }, owner), element("b", {}, name)),
      element("span", { class: "state" }, stateText(model)),
      element("span", { class: "facts" }, modelFacts(model)),
      element("span", { class: "abilities" }, ...abilities.map((word) => element("span", {}, word))),
      ...notes.map((text) => element("span", { class: "note" }, text)),
    );
  }

  #choose(model) {
    this.chosen = model.id;
    writeLasting(NAME, model.id);
    this.#show();
  }
}

function stateOf(model) {
  return STATES[model.state] ?? "unloaded";
}

function stateText(model) {
  if (!model) return "";
  const state = stateOf(model);
  if (state === "unloaded") return "loads on demand";
  const part = model.progressFraction;
  return state === "loading" && part ? `loading ${Math.round(part * 100)} %` : state;
}

function compact(number) {
  return number.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 });
}
