// Images that a person adds to a message: read, and made smaller where they are too large.

// Requests have a limit, too, which holds for a whole conversation: several must fit.
const MAX_BYTES = 768 * 1024;
const MAX_SIDE = 1568;
const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/** Reads a file as `{name, url}`, with a `data:` address. Raises TypeError where it is no image. */
export async function readImage(file, limits) {
  const name = file.name || "image";
  const isKnown = KINDS.includes(file.type);
  if (!file.type.startsWith("image/")) throw new TypeError(`${name} is no image.`);
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) throw new TypeError(`${name} cannot be read as an image.`);
  const side = Math.max(picture.width, picture.height);
  const maxBytes = Math.min(MAX_BYTES, Number(limits?.maxBytes ?? MAX_BYTES));
  const maxSide = Math.min(MAX_SIDE, limits?.maxSide ?? MAX_SIDE);
  const fits = file.size <= maxBytes && side <= (limits?.maxSide ?? side);
  if (isKnown && fits) return { name, url: await dataUrl(file) };
  return { name, url: scaled(picture, Math.min(1, maxSide / side)) };
}

/** Returns the files of a drop or paste that may be images. */
export function filesOf(transfer) {
  return [...(transfer?.files ?? [])];
}

function scaled(picture, factor) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * factor));
  canvas.height = Math.max(1, Math.round(picture.height * factor));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // JPEG has no transparency; the server puts white below it, too
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.88);
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new TypeError(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}
