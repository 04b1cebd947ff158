// What a person takes along.

/**
 * Puts a text on the clipboard; returns whether it is there. Where browsers refuse, as on another
 * machine's page without TLS, `node`, which shows it, is marked: to be copied with the keyboard.
 */
export async function copyOrMark(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(node);
    return false;
  }
}

/** What a button says when the text had to be marked. */
export const MARKED = "Marked: press Ctrl + C";
