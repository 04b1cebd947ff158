// Shows server-sent events while they come; Swagger UI by itself reads a response to its end first.
"use strict";

const EVENT_STREAM = /^text\/event-stream\b/i;
// To render each event by itself would cost more than it takes to make it.
const RENDER_EVERY_MS = 50;

// Fetches as `fetch` does, but hands what has come of a stream of events to `show`, again and again.
// What a signal has aborted never returns: nobody waits for it any more.
async function fetchShowing(url, options, show) {
  const response = await fetch(url, options);
  const { status, statusText } = response;
  if (!EVENT_STREAM.test(response.headers.get("content-type") ?? "")) return response;
  const headers = Object.fromEntries(response.headers);
  let text = "";
  let timer;
  const render = (streamState) => {
    timer = undefined;
    show({ ok: true, url, status, statusText, headers, text, data: text, streamState });
  };
  render("open");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Response(text, { status, statusText, headers });
      text += value;
      timer ??= setTimeout(render, RENDER_EVERY_MS, "open");
    }
  } catch {
    // The connection broke, or the person is through with it; `show` knows which.
    clearTimeout(timer);
    render("broken");
    return new Promise(() => {});
  } finally {
    clearTimeout(timer);
  }
}

// The text of one event in any of the dialects, of its first choice.
function textOfEvent(event) {
  const choice = event.choices?.[0];
  const deltas = event.deltas?.deltas ?? [];
  const own = deltas.map((delta) => (delta.choice ? "" : (delta.text?.text ?? ""))).join("");
  const theirs = choice?.index ? "" : (choice?.delta?.content ?? choice?.text);
  const found = event.content ?? event.text ?? theirs ?? own;
  return typeof found === "string" ? found : "";
}

// The events so far, and the text that they make together. An event that is still cut in two counts
// for nothing yet.
function readEvents(stream) {
  const blocks = stream.split("\n\n").slice(0, -1);
  const data = blocks.flatMap((block) =>
    block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)),
  );
  const texts = data.map((line) => {
    try {
      return textOfEvent(JSON.parse(line));
    } catch {
      return ""; // [DONE]
    }
  });
  return { numEvents: data.length, text: texts.join("") };
}

const STATES = { open: "the stream is open", broken: "the connection broke" };

function StreamsPlugin({ React }) {
  const h = React.createElement;
  const StreamState = React.createContext(undefined);
  const running = new Map(); // what ends the newest request of each operation

  const end = (path, method) => running.get(`${method} ${path}`)?.abort();

  // Keeps the newest line in sight, unless the person has scrolled away from it.
  function Scrolled({ className, label, children }) {
    const place = React.useRef(null);
    const isAtEnd = React.useRef(true);
    React.useLayoutEffect(() => {
      if (isAtEnd.current) place.current.scrollTop = place.current.scrollHeight;
    });
    const onScroll = ({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
      isAtEnd.current = scrollTop + clientHeight >= scrollHeight - 24;
    };
    const attributes = { className, tabIndex: 0, role: "region", "aria-label": label };
    return h("pre", { ...attributes, ref: place, onScroll }, children);
  }

  function EventStream({ content }) {
    const state = STATES[React.useContext(StreamState)] ?? "the stream has ended";
    const { numEvents, text } = readEvents(content);
    const count = `${numEvents} ${numEvents === 1 ? "event" : "events"}`;
    return h(
      "div",
      { className: "stream" },
      h("h5", null, "Response body"),
      h("p", { className: "stream-state", role: "status" }, `${count}, ${state}`),
      text && h(Scrolled, { className: "stream-text", label: "Text of the events" }, text),
      h(Scrolled, { className: "stream-events", label: "Events" }, content),
    );
  }

  return {
    statePlugins: {
      spec: {
        wrapActions: {
          executeRequest: (original, { specActions }) => (request) => {
            const { pathName, method } = request;
            end(pathName, method);
            const controller = new AbortController();
            const { signal } = controller;
            running.set(`${method} ${pathName}`, controller);
            const show = (response) => {
              if (!signal.aborted) specActions.setResponse(pathName, method, response);
            };
            const userFetch = (url, options) => fetchShowing(url, options, show);
            return original({ ...request, signal, userFetch });
          },
          // The button Clear, also in the middle of a stream.
          clearResponse: (original) => (path, method) => {
            end(path, method);
            return original(path, method);
          },
        },
      },
    },
    wrapComponents: {
      liveResponse: (Original) => (props) =>
        h(
          StreamState.Provider,
          { value: props.response?.get("streamState") },
          h(Original, props),
        ),
      responseBody: (Original) => (props) => {
        const isStream = EVENT_STREAM.test(props.contentType ?? "");
        return h(isStream && typeof props.content === "string" ? EventStream : Original, props);
      },
    },
  };
}
