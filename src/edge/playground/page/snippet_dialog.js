// A request as a command or a program, to take along.

import { element, iconButton } from "../drawing/dom.js";
import { CallFailed, describeService } from "../service/calls.js";
import { FORMS } from "../service/snippets.js";
import { readLasting, writeLasting } from "../storage.js";
import { copyOrMark, MARKED } from "./clipboard.js";

const NAME = "tokenwire.snippet";

export class SnippetDialog {
  /** `needsKey()` says whether callers need an API key. It is never written into a snippet. */
  constructor(dialog, needsKey) {
    this.dialog = dialog;
    this.needsKey = needsKey;
    this.code = element("code");
    this.text = element("pre", { tabindex: 0, "aria-label": "The request" }, this.code);
    this.forms = element("div", { class: "forms", role: "radiogroup", "aria-label": "Form" });
    this.copy = element("button", { type: "button", class: "strong", onclick: () => this.#copy() }, "Copy");
    const title = element("h2", { id: "snippets-title" }, "Copy the request as");
    const close = iconButton("close", "Close", () => dialog.close());
    dialog.append(element("div", { class: "row" }, title, close), this.forms, this.text, this.copy);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  /** Shows a request, or why that cannot be done. */
  async open(request) {
    try {
      this.#showForms(request, await describeService());
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      this.forms.replaceChildren();
      this.code.textContent = error.message;
    }
    this.copy.hidden = !this.forms.hasChildNodes();
    this.dialog.showModal();
    (this.forms.querySelector("input:checked") ?? this.text).focus();
  }

  #showForms(request, { grpcPort, grpcTls }) {
    const host = location.hostname;
    const service = { origin: location.origin, grpc: `${host}:${grpcPort}`, grpcTls, needsKey: this.needsKey() };
    const kept = readLasting(NAME);
    const chosen = FORMS.find((form) => form.name === kept) ?? FORMS[0];
    const show = (form) => {
      this.code.textContent = form.write(request, service);
      this.text.scrollTo({ top: 0, left: 0 });
      this.copy.textContent = "Copy";
      writeLasting(NAME, form.name);
    };
    this.forms.replaceChildren(
      ...FORMS.map((form) => {
        const choice = { type: "radio", name: "form", checked: form === chosen, onchange: () => show(form) };
        return element("label", {}, element("input", choice), element("span", {}, form.name));
      }),
    );
    show(chosen);
  }

  async #copy() {
    const isCopied = await copyOrMark(this.code.textContent, this.code);
    this.copy.textContent = isCopied ? "Copied" : MARKED;
  }
}
