// Server-sent events of a response, as they arrive.

/** Yields the JSON value of each event. Leaving the loop ends the response. */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        // Comment lines are heartbeats.
        if (line.startsWith("data:")) yield JSON.parse(line.slice("data:".length));
      }
    }
  } finally {
    // A response that was aborted cannot be cancelled any more.
    reader.cancel().catch(() => undefined);
  }
}
