// How a model shall answer. Settings outlive the tab; the API key does not.

import { element, iconButton } from "../drawing/dom.js";
import { apiKey } from "../service/calls.js";
import { DEFAULTS } from "../service/request.js";
import { readLasting, writeLasting } from "../storage.js";

const NAME = "tokenwire.settings";
const OPEN = "tokenwire.settings.open";
const WIDE = matchMedia("(min-width: 60rem)");
const KINDS = {
  "": "Free text",
  json_object: "Any JSON object",
  json_schema: "JSON Schema",
  regex: "Regular expression",
  choice: "One of several texts",
  ebnf: "Grammar (GBNF)",
};
const KEY_NOTE = "Kept in this tab only, and sent with every request.";
const EXAMPLES = {
  json_schema: '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
  regex: "(yes|no), because [a-z ]+\\.",
  choice: "one text a line",
  ebnf: 'root ::= "yes" | "no"',
};

export class SettingsPanel {
  #capabilities = {};
  #values = stored();

  /** `tells.keyChanged()` when another API key counts. */
  constructor(panel, tells) {
    this.panel = panel;
    this.tells = tells;
    this.needsKey = false;
    this.button = iconButton("settings", "Settings", () => this.#toggle(panel.hidden), {
      "aria-controls": panel.id,
    });
    this.fields = this.#makeFields();
    this.sections = this.#makeSections();
    const close = iconButton("close", "Close the settings", () => this.#toggle(false));
    const reset = element("button", { type: "button", class: "plain", onclick: () => this.#reset() }, "Reset all");
    panel.append(
      element("div", { class: "row" }, element("h2", {}, "Settings"), close),
      ...Object.values(this.sections),
      reset,
    );
    this.#fill();
    this.show({}); // what a model must be able to do waits for one
    // A window that is made narrow is not covered.
    const fit = () => this.#toggle(WIDE.matches && readLasting(OPEN) !== "no", false);
    WIDE.addEventListener("change", fit);
    fit();
  }

  /** Returns the settings in force: those that the model cannot honour are left out. */
  read() {
    const values = { ...this.#values };
    for (const [field, isOpen] of Object.entries(this.#offered())) if (!isOpen) values[field] = "";
    return values;
  }

  /** Fits itself to what a model can do. */
  show(model) {
    this.#capabilities = model.capabilities ?? {};
    for (const [field, isOpen] of Object.entries(this.#offered())) {
      if (this.sections[field]) this.sections[field].hidden = !isOpen;
    }
    const kinds = ["", ...(this.#capabilities.constraints ?? [])].filter((kind) => kind in KINDS);
    const chosen = kinds.includes(this.#values.constraintKind) ? this.#values.constraintKind : "";
    this.fields.constraintKind.replaceChildren(
      ...kinds.map((kind) => element("option", { value: kind, selected: kind === chosen }, KINDS[kind])),
    );
    this.#showConstraint();
  }

  /** Shows the field for a key, where the service demands one. */
  askForKey(isAsked = true) {
    if (!isAsked || this.needsKey) return;
    this.needsKey = true;
    this.sections.key.hidden = false;
    if (!apiKey.get()) {
      this.#toggle(true, false);
      this.fields.key.focus();
    }
  }

  /** Shows whether the key is good: the service has answered, or refused it. */
  showKey(isRefused) {
    if (isRefused) this.askForKey();
    this.keyNote.textContent = isRefused && apiKey.get() ? "The service refused this key." : KEY_NOTE;
  }

  /** Shows a setting that cannot be sent. */
  showMistake({ field, message }) {
    this.#toggle(true, false);
    this.fields[field].setCustomValidity(message);
    this.fields[field].reportValidity();
  }

  /** Closes it where it covers the page; returns whether it did. */
  closeSheet() {
    if (this.panel.hidden || WIDE.matches) return false;
    this.#toggle(false);
    return true;
  }

  #offered() {
    const { reasoningSwitch, tools, constraints = [], seeds } = this.#capabilities;
    return {
      thinking: Boolean(reasoningSwitch),
      tools: Boolean(tools),
      seed: Boolean(seeds),
      constraintKind: constraints.includes(this.#values.constraintKind),
      constraint: constraints.length > 0,
    };
  }

  #toggle(isOpen, isChosen = true) {
    this.panel.hidden = !isOpen;
    this.button.setAttribute("aria-expanded", String(isOpen));
    document.body.classList.toggle("with-settings", isOpen);
    if (!isChosen) return;
    if (WIDE.matches) writeLasting(OPEN, isOpen ? "yes" : "no");
    (isOpen ? this.fields.system : this.button).focus();
  }

  #makeFields() {
    const text = (field, attributes) => {
      const node = element(attributes.rows ? "textarea" : "input", {
        id: `setting-${field}`,
        autocomplete: "off",
        spellcheck: "false",
        ...attributes,
        oninput: () => this.#keep(field, node),
      });
      return node;
    };
    const choice = (field, options = {}) => {
      const made = Object.entries(options).map(([value, label]) => element("option", { value }, label));
      const node = element("select", { id: `setting-${field}`, onchange: () => this.#keep(field, node) }, ...made);
      return node;
    };
    const number = { inputmode: "decimal", placeholder: "default" };
    return {
      key: element("input", {
        id: "setting-key",
        type: "password",
        autocomplete: "off",
        placeholder: "tw_…",
        onchange: (event) => this.#keepKey(event),
      }),
      system: text("system", { rows: 3, placeholder: "Who the model is, and how it answers" }),
      temperature: text("temperature", number),
      topP: text("topP", number),
      maxTokens: text("maxTokens", { ...number, inputmode: "numeric" }),
      seed: text("seed", { ...number, inputmode: "numeric", placeholder: "random" }),
      stop: text("stop", { rows: 2, placeholder: "One a line; \\n is a line feed" }),
      thinking: choice("thinking", { "": "The model's own default", on: "On", off: "Off" }),
      constraintKind: choice("constraintKind"),
      constraint: text("constraint", { rows: 5, "aria-label": "The shape itself" }),
      tools: text("tools", { rows: 6, placeholder: '[{"name": "weather", "description": "…", "parameters": {…}}]' }),
    };
  }

  #makeSections() {
    const labelled = (field, label, ...more) => {
      const node = this.fields[field];
      return element("div", { class: "field" }, element("label", { for: node.id }, label), node, ...more);
    };
    this.keyNote = element("p", { class: "note", role: "status" }, KEY_NOTE);
    const sections = {
      key: element("form", { onsubmit: (event) => this.#keepKey(event) }, ...labelled("key", "API key", this.keyNote).childNodes),
      system: labelled("system", "System prompt"),
      temperature: labelled("temperature", "Temperature"),
      topP: labelled("topP", "Top p"),
      maxTokens: labelled("maxTokens", "Max tokens"),
      seed: labelled("seed", "Seed"),
      stop: labelled("stop", "Stop strings"),
      thinking: labelled("thinking", "Thinking"),
      constraint: labelled("constraintKind", "Shape of the answer", this.fields.constraint),
      tools: labelled("tools", "Tools, as JSON"),
    };
    sections.key.hidden = true;
    for (const field of ["temperature", "topP", "maxTokens", "seed"]) sections[field].classList.add("half");
    return sections;
  }

  #fill() {
    for (const [field, value] of Object.entries(this.#values)) this.fields[field].value = value;
    this.fields.key.value = apiKey.get();
  }

  #keep(field, node) {
    node.setCustomValidity("");
    this.#values[field] = node.value;
    writeLasting(NAME, JSON.stringify(this.#values));
    if (field === "constraintKind") this.#showConstraint();
  }

  #keepKey(event) {
    event.preventDefault();
    apiKey.set(this.fields.key.value);
    this.tells.keyChanged();
  }

  #reset() {
    this.#values = { ...DEFAULTS };
    writeLasting(NAME, JSON.stringify(this.#values));
    this.#fill();
    this.#showConstraint();
  }

  #showConstraint() {
    const kind = this.fields.constraintKind.value;
    this.fields.constraint.hidden = !(kind in EXAMPLES);
    this.fields.constraint.placeholder = EXAMPLES[kind] ?? "";
  }
}

function stored() {
  try {
    const kept = JSON.parse(readLasting(NAME) ?? "{}");
    const known = Object.entries(kept).filter(([field]) => field in DEFAULTS);
    return { ...DEFAULTS, ...Object.fromEntries(known) };
  } catch {
    return { ...DEFAULTS };
  }
}
