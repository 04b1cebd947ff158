// Runs the cases of one client, one after the other, and tells each as a line of JSON.
import assert from "node:assert/strict";

export const REAL = process.env.REAL_URL;
export const SCRIPTED = process.env.SCRIPTED_URL;
export const MODEL = process.env.MODEL;
export const HI = [{ role: "user", content: "Say hi." }];
export const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Tells the weather of a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
    },
  },
};
export const IMAGE_URL = `data:image/png;base64,${Buffer.from("no image").toString("base64")}`;

// Returns what a call rejects with, which must be so.
export async function rejects(call) {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

export async function run(cases) {
  for (const [name, call] of Object.entries(cases)) {
    let problem = "";
    try {
      await call();
    } catch (error) {
      problem = error.stack ?? String(error);
    }
    console.log(JSON.stringify({ case: name, problem }));
  }
}
