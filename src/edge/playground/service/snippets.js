// A request as a command or a program that makes the same one.

import { writeClient } from "./client_snippet.js";
import { writeOpenai } from "./openai_snippet.js";

/** The forms, in order. `service` has `origin`, `grpc`, `grpcTls` and `needsKey`. */
export const FORMS = [
  { name: "curl", write: writeCurl },
  { name: "grpcurl", write: writeGrpcurl },
  { name: "Python client", write: writeClient },
  { name: "OpenAI client", write: writeOpenai },
];

// The body comes from standard input: an image is longer than an argument may be, and nothing in
// JSON needs quoting there.
function writeCurl(request, service) {
  return [
    `curl -sN ${service.origin}/tokenwire/v1/chat \\`,
    '  -H "Content-Type: application/json" \\',
    ...(service.needsKey ? ['  -H "Authorization: Bearer $LLM_API_KEY" \\'] : []),
    ...body("--data-binary @-", request),
  ].join("\n");
}

function writeGrpcurl(request, service) {
  return [
    ...(service.needsKey ? ["# The key must be good for reflection, which tells the messages."] : []),
    `grpcurl${service.grpcTls ? "" : " -plaintext"} \\`,
    ...(service.needsKey ? ['  -H "authorization: Bearer $LLM_API_KEY" \\'] : []),
    ...body(`-d @ ${service.grpc} tokenwire.v1.InferenceService/Chat`, request),
  ].join("\n");
}

function body(options, request) {
  return [`  ${options} <<'JSON'`, JSON.stringify(request, null, 2), "JSON", ""];
}
