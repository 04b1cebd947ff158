// Values of JSON as Python writes them.

/** Writes a value, over several lines where it is long; `margin` is how far its line is indented. */
export function literal(value, margin = 8) {
  const short = flat(value);
  if (typeof value !== "object" || value === null || short.length < 80) return short;
  const inner = " ".repeat(margin + 4);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const items = Array.isArray(value)
    ? value.map((item) => literal(item, margin + 4))
    : Object.entries(value).map(([key, item]) => `${flat(key)}: ${literal(item, margin + 4)}`);
  const lines = items.map((item) => `${inner}${item},\n`).join("");
  return `${open}\n${lines}${" ".repeat(margin)}${close}`;
}

/** Writes the fields of an object as arguments with names. */
export function keywords(fields) {
  return Object.entries(fields).map(([name, value]) => `${name}=${flat(value)}`).join(", ");
}

function flat(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(flat).join(", ")}]`;
  if (typeof value === "object") {
    const items = Object.entries(value).map(([key, item]) => `${flat(key)}: ${flat(item)}`);
    return `{${items.join(", ")}}`;
  }
  return JSON.stringify(value); // a string or number of JSON is one of Python
}
