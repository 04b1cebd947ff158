// Asks a model over gRPC and writes the answer as it streams.
//
// Run it: npm install && node chat.mjs "What is the capital of France?"
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = process.env.TOKENWIRE_ROOT ?? path.join(here, "..", "..");
const definition = protoLoader.loadSync(
  ["tokenwire/v1/inference.proto", path.join(here, "error_details.proto")],
  {
    includeDirs: [
      path.join(root, "protos"),
      path.join(root, "third_party", "googleapis"),
      path.join(root, "third_party", "protovalidate"),
    ],
    enums: String,
    longs: Number,
    oneofs: true,
  },
);
const { InferenceService } = grpc.loadPackageDefinition(definition).tokenwire.v1;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    target: { type: "string", default: "localhost:50051" },
    ca: { type: "string" }, // a file: trusts these authorities, and speaks TLS
    model: { type: "string" },
    temperature: { type: "string", default: "0" },
    "max-characters": { type: "string", default: "Infinity" },
  },
});
if (positionals.length !== 1) {
  console.error("usage: node chat.mjs [--target HOST:PORT] [--ca FILE] [--model ID] MESSAGE");
  process.exit(2);
}

const credentials = options.ca
  ? grpc.credentials.createSsl(readFileSync(options.ca))
  : grpc.credentials.createInsecure();
const client = new InferenceService(options.target, credentials);
try {
  await chat(positionals[0]);
} catch (error) {
  console.error(explain(error));
  process.exitCode = 1;
} finally {
  client.close();
}

async function chat(message) {
  const call = client.chat(
    {
      model: options.model ?? (await firstModel()),
      messages: [
        { role: "ROLE_SYSTEM", content: [{ text: "You are a helpful assistant." }] },
        { role: "ROLE_USER", content: [{ text: message }] },
      ],
      sampling: { temperature: Number(options.temperature) },
    },
    // The deadline travels with the call: the server stops generating when it has passed.
    { deadline: Date.now() + 120_000 },
  );
  process.once("SIGINT", () => call.cancel());
  let numCharacters = 0;
  for await (const response of call) {
    if (response.event === "deltas") {
      for (const delta of response.deltas.deltas) {
        const text = delta.text?.text ?? "";
        process.stdout.write(text);
        numCharacters += text.length;
      }
    } else if (response.event === "finished") {
      const { usage, timings } = response.finished;
      const speed = timings.tokensPerSecond.toFixed(1);
      process.stdout.write("\n");
      console.error(
        `${usage.numPromptTokens} + ${usage.numCompletionTokens} tokens, ${speed} tokens/s`,
      );
    }
    if (numCharacters >= Number(options["max-characters"])) {
      call.on("error", () => {}); // a cancelled call ends with the error CANCELLED
      call.cancel();
      console.error("\ncancelled");
      return;
    }
  }
}

function firstModel() {
  return new Promise((resolve, reject) => {
    client.listModels({}, { deadline: Date.now() + 10_000 }, (error, answer) => {
      if (error) reject(error);
      else resolve(answer.models[0].id);
    });
  });
}

// Tells a failure with its details: reason, fields, when to try again.
function explain(error) {
  const lines = [`${grpc.status[error.code] ?? "ERROR"}: ${error.details ?? error.message}`];
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = packed ? definition["google.rpc.Status"].deserialize(packed).details : [];
  for (const { type_url: url, value } of details) {
    const name = url.split("/").pop();
    const detail = definition[name]?.deserialize(value);
    if (name === "google.rpc.ErrorInfo") lines.push(`reason: ${detail.reason}`);
    if (name === "google.rpc.RetryInfo") lines.push(`try again in ${detail.retryDelay.seconds} s`);
    for (const violation of detail?.fieldViolations ?? []) {
      lines.push(`field: ${violation.field}: ${violation.description}`);
    }
  }
  return lines.join("\n");
}
