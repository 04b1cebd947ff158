// The turns of one conversation, which outlive a reload of the tab.

import { readTurns } from "./restored_turns.js";
import { INTERRUPTED, isRunning } from "./service/answer.js";
import { readSession, writeSession } from "./storage.js";

const NAME = "tokenwire.conversation";
// The answer that comes, by itself: the rest of a conversation may be long, and stays as it is.
const COMING = "tokenwire.conversation.coming";
// While an answer comes, what is kept is never older than this.
const SAVE_EVERY_MS = 250;

export class Conversation {
  #timer = null;
  #isLeft = false;

  constructor() {
    this.turns = restored();
    addEventListener("pagehide", () => {
      this.save();
      // The browser now ends the call: that is no failure, and nothing more is to be kept.
      this.#isLeft = true;
    });
    addEventListener("pageshow", () => (this.#isLeft = false));
  }

  get isEmpty() {
    return this.turns.length === 0;
  }

  /** Takes out the turn at `index` and all behind it. */
  cut(index) {
    this.turns.length = index;
    this.save();
  }

  /** Keeps it now. */
  save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#isLeft) return;
    writeSession(COMING, "");
    if (writeSession(NAME, JSON.stringify(this.turns))) return;
    // There is room for some five million characters: images go first.
    writeSession(NAME, JSON.stringify(this.turns, (name, value) => (name === "url" ? "" : value)));
  }

  /** Keeps the last answer, of which something came, soon. */
  saveSoon() {
    this.#timer ??= setTimeout(() => this.#saveComing(), SAVE_EVERY_MS);
  }

  #saveComing() {
    this.#timer = null;
    if (!this.#isLeft && !this.isEmpty) writeSession(COMING, JSON.stringify([this.turns.at(-1)]));
  }
}

function restored() {
  const turns = readTurns(readSession(NAME) ?? "[]") ?? [];
  const [coming] = readTurns(readSession(COMING) || "[]") ?? [];
  if (coming && turns.length) turns[turns.length - 1] = coming;
  for (const turn of turns) {
    if (turn.role !== "assistant" || !isRunning(turn)) continue;
    turn.state = INTERRUPTED;
    turn.wait = null;
  }
  return turns;
}
