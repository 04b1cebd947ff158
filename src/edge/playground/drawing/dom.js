// Nodes without markup: whatever a text holds, it stays text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. An attribute that begins with "on" is a listener, `true` an attribute without
 * a value; false, null and undefined are left out, and so are children that are null. A child may
 * be an array of them: an answer has more parts than a call takes arguments.
 */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Makes an element of SVG. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Makes a button with a picture; its label is read aloud and shown as a hint. */
export function iconButton(picture, label, onclick, attributes = {}) {
  const given = { type: "button", class: "icon", "aria-label": label, title: label, onclick };
  return element("button", { ...given, ...attributes }, icon(picture));
}

/** Makes a picture in the colour of the text around it. */
export function icon(picture) {
  const strokes = PICTURES[picture].map((d) => drawn("path", { d }));
  return drawn("svg", { viewBox: "0 0 20 20", class: "picture", "aria-hidden": "true" }, ...strokes);
}

const PICTURES = {
  send: ["M10 16V4.5", "M5 9.2 10 4.2l5 5"],
  stop: ["M6 6h8v8H6z"],
  image: ["M3.5 4.5h13v11h-13z", "m3.8 13.6 3.7-3.8 3 3 2-1.9 3.8 3.6", "M12.6 7.8h.01"],
  copy: ["M7.5 7.5h9v9h-9z", "M12.5 7.3V3.5h-9v9h3.8"],
  code: ["m7 6-4 4 4 4", "m13 6 4 4-4 4"],
  edit: ["m4 16 .7-3.3L13 4.4l2.6 2.6-8.3 8.3z", "m11.3 6.1 2.6 2.6"],
  again: ["M15.8 8.2A6.2 6.2 0 1 0 16 12", "M16.2 4v4.4h-4.4"],
  settings: ["M3 6.5h7", "M14 6.5h3", "M3 13.5h3", "M10 13.5h7", "M12 4.5v4", "M8 11.5v4"],
  fresh: ["M10 4v12", "M4 10h12"],
  close: ["m5 5 10 10", "M15 5 5 15"],
  light: ["M10 6.7a3.3 3.3 0 1 0 0 6.6 3.3 3.3 0 0 0 0-6.6", "M10 2v1.4M10 16.6V18M2 10h1.4M16.6 10H18M4.3 4.3l1 1M14.7 14.7l1 1M15.7 4.3l-1 1M5.3 14.7l-1 1"],
  dark: ["M15.9 12A6.6 6.6 0 0 1 8 4.1a6.5 6.5 0 1 0 7.9 7.9z"],
};

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}
