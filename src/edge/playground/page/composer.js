// Where a message is written: text, and images where the model sees.

import { element, icon, iconButton } from "../drawing/dom.js";
import { filesOf, readImage } from "./images.js";

export class Composer {
  #images = [];
  #limits = null;
  #sees = false;
  #runs = false;

  /** `does.send(text, images)` returns whether it was sent; `stop` and `editLast` do what they say. */
  constructor(form, does) {
    this.does = does;
    this.field = element("textarea", {
      id: "message",
      rows: 1,
      "aria-label": "Message",
      placeholder: "Message",
      autocomplete: "off",
      onkeydown: (event) => this.#key(event),
      oninput: () => this.#fit(),
      onpaste: (event) => this.#take(event, filesOf(event.clipboardData)),
    });
    this.thumbnails = element("ul", { class: "thumbnails", "aria-label": "Images", hidden: true });
    this.note = element("p", { class: "note", role: "alert" });
    this.picked = element("input", {
      type: "file",
      accept: "image/*",
      multiple: true,
      class: "unseen",
      tabindex: -1,
      "aria-hidden": "true",
      onchange: () => this.#add([...this.picked.files]),
    });
    this.attach = iconButton("image", "Add images", () => this.picked.click(), { hidden: true });
    this.button = element("button", { class: "send" });
    this.hint = element("span", { class: "hint" });
    const row = element("div", { class: "row" }, this.attach, this.hint, this.button);
    form.append(this.thumbnails, this.field, this.note, row, this.picked);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#runs) this.does.stop();
      else this.#send();
    });
    for (const kind of ["dragenter", "dragover"]) {
      addEventListener(kind, (event) => this.#drag(event, form));
    }
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) form.classList.remove("dropping");
    });
    addEventListener("drop", (event) => {
      form.classList.remove("dropping");
      this.#take(event, filesOf(event.dataTransfer));
    });
    // Elsewhere it would open the keyboard of a screen.
    if (matchMedia("(hover: hover)").matches) this.field.focus();
  }

  /** Fits itself to what a model takes. */
  show(model) {
    this.#sees = Boolean(model.capabilities?.images);
    this.#limits = model.imageLimits ?? null;
    this.attach.hidden = !this.#sees;
    if (!this.#sees && this.#images.length) {
      this.#images = [];
      this.#showImages();
    }
  }

  /** Shows that an answer is coming, which can be stopped, or that none is. */
  showRunning(runs) {
    this.#runs = runs;
    const label = runs ? "Stop the answer" : "Send the message";
    if (this.button.title === label) return;
    this.button.title = label;
    this.button.setAttribute("aria-label", label);
    this.button.replaceChildren(icon(runs ? "stop" : "send"));
    this.button.toggleAttribute("data-runs", runs);
    this.hint.textContent = runs ? "Esc stops" : "Enter sends, Shift + Enter breaks the line";
  }

  /** Puts a text in, to be changed or sent. */
  suggest(text) {
    this.field.value = text;
    this.#fit();
    this.focus();
  }

  focus() {
    this.field.focus();
  }

  #send() {
    const text = this.field.value.trim();
    if (!text && !this.#images.length) return;
    if (!this.does.send(text, this.#images)) return;
    this.field.value = "";
    this.#images = [];
    this.#showImages();
    this.#fit();
  }

  #key(event) {
    if (event.isComposing) return; // Enter picks a word of an input method there
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (!this.#runs) this.#send();
    } else if (event.key === "ArrowUp" && !this.field.value) {
      event.preventDefault();
      this.does.editLast();
    }
  }

  #fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  #drag(event, form) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("dropping", this.#sees);
  }

  #take(event, files) {
    if (!files.length) return;
    event.preventDefault(); // else the browser opens the file in place of the page
    this.#add(files);
  }

  async #add(files) {
    this.note.textContent = this.#sees ? "" : "This model does not see images.";
    if (!this.#sees) return;
    const most = this.#limits?.maxImages ?? files.length;
    for (const file of files) {
      if (this.#images.length >= most) {
        this.note.textContent = `At most ${most} images go into one request.`;
        break;
      }
      try {
        this.#images = [...this.#images, await readImage(file, this.#limits)];
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        this.note.textContent = error.message;
      }
    }
    this.picked.value = "";
    this.#showImages();
    this.focus();
  }

  #showImages() {
    this.thumbnails.hidden = !this.#images.length;
    this.thumbnails.replaceChildren(
      ...this.#images.map((image) => {
        const remove = () => {
          this.#images = this.#images.filter((other) => other !== image);
          this.#showImages();
          this.focus();
        };
        const picture = element("img", { src: image.url, alt: image.name });
        return element("li", {}, picture, iconButton("close", `Remove ${image.name}`, remove));
      }),
    );
  }
}
