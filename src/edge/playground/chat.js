// What a person does with a conversation: ask, stop, ask again, change what was asked.

import { applyEvent, DONE, FAILED, isRunning, newAnswer, STOPPED } from "./service/answer.js";
import { CallFailed, streamChat } from "./service/calls.js";
import { chatRequest } from "./service/request.js";

export class Chat {
  #running = null;

  /**
   * `settingsFor()` returns the model's id and the settings in force. `shows` is told of changes:
   * `turns()` of the list, `answer(turn)` of one, `ended(turn)` of its end.
   */
  constructor(conversation, settingsFor, shows) {
    this.conversation = conversation;
    this.settingsFor = settingsFor;
    this.shows = shows;
  }

  get isRunning() {
    return this.#running !== null;
  }

  /** Asks a question. Raises SettingError, with nothing changed. */
  ask(text, images) {
    this.#begin([...this.conversation.turns, { role: "user", text, images }]);
  }

  /** Asks the question at `index` anew, in other words; what came after it goes. */
  edit(index, text) {
    const turns = this.conversation.turns.slice(0, index);
    this.#begin([...turns, { ...this.conversation.turns[index], text }]);
  }

  /** Has the answer at `index` made anew; what came after it goes. */
  regenerate(index) {
    this.#begin(this.conversation.turns.slice(0, index));
  }

  /** Has the model go on with the answer at `index`, which was cut off; what came after it goes. */
  extend(index) {
    const { turns } = this.conversation;
    this.#begin(turns.slice(0, index), turns[index]);
  }

  /** Has the model go on with the results of its calls, which the answer holds. */
  goOn() {
    this.#begin([...this.conversation.turns]);
  }

  /** Stops the answer that is coming; the engine frees its slot. */
  stop() {
    this.#running?.abort();
  }

  /** Forgets everything. */
  clear() {
    this.stop();
    this.conversation.cut(0);
    this.shows.turns();
  }

  /** Returns the request that made the answer at `index`. */
  requestOf(index) {
    const { turns } = this.conversation;
    const { model, settings, begun } = turns[index];
    return chatRequest(model, turns.slice(0, index), settings, begun);
  }

  #begin(turns, begun = undefined) {
    const { model, settings } = this.settingsFor();
    const request = chatRequest(model, turns, settings, begun?.text);
    this.stop();
    const answer = newAnswer(model, settings, begun);
    this.conversation.turns = [...turns, answer];
    this.conversation.save();
    this.shows.turns();
    const running = new AbortController();
    this.#running = running;
    this.#receive(answer, request, running);
  }

  async #receive(answer, request, running) {
    const askedMs = performance.now();
    this.shows.answer(answer);
    try {
      for await (const event of streamChat({ ...request, progress: true }, running.signal)) {
        if (running.signal.aborted) break;
        applyEvent(answer, event, performance.now() - askedMs);
        this.shows.answer(answer);
        this.conversation.saveSoon();
      }
    } catch (error) {
      // Whatever was not foreseen is shown as well, and told to the console.
      if (!running.signal.aborted) fail(answer, error);
    }
    if (isRunning(answer)) answer.state = running.signal.aborted ? STOPPED : DONE;
    answer.wait = null;
    if (this.#running === running) this.#running = null;
    this.conversation.save();
    this.shows.ended(answer);
  }
}

function fail(answer, error) {
  if (!(error instanceof CallFailed)) console.error(error);
  answer.state = FAILED;
  answer.failure = {
    message: error.message,
    reason: error.reason ?? "",
    retryAfterS: error.retryAfterS ?? 0,
    requestId: error.requestId ?? "",
    field: error.field ?? "",
    needsKey: error.needsKey ?? false,
    atMs: Date.now(),
  };
}
