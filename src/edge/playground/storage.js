// What outlives a reload: the tab's in the session, choices of the person in the browser.

/** Returns what this tab kept, or null. */
export function readSession(name) {
  return read(() => sessionStorage.getItem(name));
}

/** Keeps a text for this tab; returns whether there was room. */
export function writeSession(name, text) {
  return write(() => sessionStorage.setItem(name, text));
}

/** Returns what this browser kept, or null. */
export function readLasting(name) {
  return read(() => localStorage.getItem(name));
}

/** Keeps a text in this browser; returns whether there was room. */
export function writeLasting(name, text) {
  return write(() => localStorage.setItem(name, text));
}

// Browsers can forbid storage altogether: the page works without it, and forgets.
function read(get) {
  try {
    return get();
  } catch {
    return null;
  }
}

function write(set) {
  try {
    set();
    return true;
  } catch {
    return false;
  }
}
