// Puts the page together.

import { Chat } from "./chat.js";
import { Conversation } from "./conversation.js";
import { iconButton } from "./drawing/dom.js";
import { Announcer } from "./page/announcer.js";
import { Composer } from "./page/composer.js";
import { ConversationView } from "./page/conversation_view.js";
import { ModelPicker } from "./page/model_picker.js";
import { SettingsPanel } from "./page/settings_panel.js";
import { SnippetDialog } from "./page/snippet_dialog.js";
import { apiKey } from "./service/calls.js";
import { SettingError, settingOf } from "./service/request.js";

const place = (id) => document.getElementById(id);

const conversation = new Conversation();
const announcer = new Announcer(place("announcer"));
const settings = new SettingsPanel(place("settings"), { keyChanged: () => picker.refresh() });
const snippets = new SnippetDialog(place("snippets"), () => settings.needsKey);
const picker = new ModelPicker(place("picker"), place("models"), {
  changed: (model) => {
    settings.show(model);
    composer.show(model);
    view.showModel(model);
  },
  answered: (needsKey) => {
    settings.showKey(needsKey);
    view.showKey(needsKey);
  },
});

const chat = new Chat(conversation, () => ({ model: picker.chosen, settings: settings.read() }), {
  turns: () => {
    view.showTurns();
    composer.showRunning(chat.isRunning);
  },
  answer: (answer) => {
    view.showAnswer(answer);
    announcer.follow(answer);
    composer.showRunning(true);
  },
  ended: (answer) => {
    view.showAnswer(answer);
    announcer.end(answer);
    composer.showRunning(chat.isRunning);
    if (answer.failure?.needsKey) settings.askForKey();
    const field = settingOf(answer.failure?.field ?? "");
    if (field) settings.showMistake({ field, message: answer.failure.message });
    picker.refresh();
  },
});

/** Runs what may find a setting that cannot be sent, and shows it where it stands. */
function tried(action) {
  try {
    action();
    return true;
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    settings.showMistake(error);
    return false;
  }
}

const composer = new Composer(place("composer"), {
  send: (text, images) => tried(() => chat.ask(text, images)),
  stop: () => chat.stop(),
  editLast: () => view.editLast(),
});

const view = new ConversationView(place("conversation"), conversation, {
  start: (text) => composer.suggest(text),
  edit: (index, text) => tried(() => chat.edit(index, text)),
  regenerate: (index) => tried(() => chat.regenerate(index)),
  extend: (index) => tried(() => chat.extend(index)),
  goOn: () => tried(() => chat.goOn()),
  copyAs: (index) => snippets.open(chat.requestOf(index)),
  left: () => composer.focus(),
});

/** Makes the switch of colours, which names those that it leads to. */
function themeButton() {
  const theme = window.tokenwireTheme;
  const make = () => {
    const isDark = theme.isDark();
    return iconButton(isDark ? "light" : "dark", isDark ? "Light colours" : "Dark colours", () => {
      theme.toggle();
      renew();
      button.focus();
    });
  };
  const renew = () => {
    const fresh = make();
    button.replaceWith(fresh);
    button = fresh;
  };
  let button = make();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renew);
  return button;
}

place("tools").append(
  iconButton("fresh", "New conversation", () => {
    chat.clear();
    composer.focus();
  }),
  themeButton(),
  settings.button,
);

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  // What lies above the conversation is closed first.
  if (document.querySelector("dialog[open], [popover]:popover-open")) return;
  if (settings.closeSheet()) return;
  chat.stop();
});

settings.askForKey(Boolean(apiKey.get()));
composer.showRunning(false);
picker.refresh();
view.showTurns();
