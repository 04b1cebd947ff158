// Puts a model that this server has into the examples, which are written for one of its own.
"use strict";

const MODELS_PATH = "/api/llms";

// The id of a model to try things with; undefined where none can be found out.
async function findModel(headers) {
  try {
    const response = await fetch(MODELS_PATH, { headers });
    if (!response.ok) return undefined;
    const models = await response.json();
    const chats = models.find((model) => model.capabilities.includes("chat"));
    return (chats ?? models[0])?.id;
  } catch {
    return undefined; // the page shows the document all the same
  }
}

function headersOf(authorizations) {
  const headers = {};
  for (const { schema, value } of Object.values(authorizations)) {
    const isBearer = schema?.get("type") === "http";
    if (isBearer) headers.Authorization = `Bearer ${value}`;
    else headers[schema?.get("name")] = value;
  }
  return headers;
}

// In JSON text, which both are part of.
function renameModel(text, from, to) {
  const [found, replacement] = [from, to].map((id) => JSON.stringify(id).slice(1, -1));
  return text.replaceAll(found, () => replacement);
}

function renameEverywhere({ specActions, oas3Actions, getState }, from, to) {
  const document = getState().getIn(["spec", "json"]);
  specActions.updateJsonSpec(JSON.parse(renameModel(JSON.stringify(document), from, to)));
  // What is being edited already, too.
  getState().getIn(["oas3", "requestData"])?.forEach((methods, path) => {
    methods.forEach((request, method) => {
      const body = request.get("bodyValue");
      if (typeof body !== "string") return;
      const value = renameModel(body, from, to);
      oas3Actions.setRequestBodyValue({ value, pathMethod: [path, method] });
    });
  });
}

// `first`: the model that was found, if one was.
function modelsPlugin(first) {
  let shown; // in the examples
  return () => ({
    statePlugins: {
      spec: {
        wrapActions: {
          updateSpec: (original) => (text) => {
            const written = JSON.parse(text).info["x-example-model"];
            shown = first ?? written;
            return original(renameModel(text, written, shown));
          },
        },
      },
      auth: {
        wrapActions: {
          // Without a key there was nothing to see; with this one there may be.
          authorize: (original, system) => async (authorizations) => {
            original(authorizations);
            const found = await findModel(headersOf(authorizations));
            if (found !== undefined) {
              renameEverywhere(system, shown, found);
              shown = found;
            }
          },
        },
      },
    },
  });
}
