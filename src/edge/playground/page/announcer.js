// Tells a screen reader of an answer by the paragraph: by the token nobody could listen.

import { element } from "../drawing/dom.js";
import { DONE, FAILED, STOPPED } from "../service/answer.js";

export class Announcer {
  #answer = null;
  #told = 0;

  constructor(place) {
    this.place = place;
  }

  /** Tells what is whole of an answer that grows. */
  follow(answer) {
    if (answer !== this.#answer) {
      this.#answer = answer;
      this.#told = answer.begun.length;
      this.place.replaceChildren();
      this.#tell("Waiting for the answer.");
    }
    const end = answer.text.lastIndexOf("\n\n");
    if (end > this.#told) this.#tellTo(end);
  }

  /** Tells the rest, and how it ended. */
  end(answer) {
    this.#tellTo(answer.text.length);
    const calls = answer.toolCalls.length;
    if (calls) this.#tell(`The model calls ${calls === 1 ? "a tool" : `${calls} tools`}.`);
    if (answer.state === DONE) this.#tell("The answer is complete.");
    if (answer.state === STOPPED) this.#tell("The answer was stopped.");
    if (answer.state === FAILED) this.#tell(`The answer failed: ${answer.failure.message}`);
  }

  #tellTo(end) {
    const text = this.#answer?.text.slice(this.#told, end).trim();
    this.#told = end;
    if (text) this.#tell(text);
  }

  #tell(text) {
    this.place.append(element("p", {}, text));
  }
}
