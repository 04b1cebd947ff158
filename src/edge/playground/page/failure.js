// Why an answer failed, and when another try is worthwhile.

import { element } from "../drawing/dom.js";

/** Makes the notice of a failure. The button is ready when the service said it would be. */
export function failureNotice(failure, retry) {
  const button = element("button", { type: "button", class: "plain", onclick: retry }, "Try again");
  const facts = [failure.reason, failure.requestId && `request ${failure.requestId}`];
  if (failure.retryAfterS) waitFor(button, failure.atMs + failure.retryAfterS * 1000);
  return element(
    "div",
    { class: "failure", role: "group", "aria-label": "Failure" },
    element("p", {}, failure.message),
    element("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
    button,
  );
}

function waitFor(button, untilMs) {
  const leftS = Math.ceil((untilMs - Date.now()) / 1000);
  button.disabled = leftS > 0;
  button.textContent = leftS > 0 ? `Try again in ${leftS} s` : "Try again";
  // Without a parent it has not been shown yet, or is gone: it ends by itself.
  if (leftS > 0) setTimeout(() => waitFor(button, untilMs), 250);
}
