// A request as a program with the Python client that comes with the package.

import { keywords, literal } from "./python_literals.js";

const MAKERS = { ROLE_SYSTEM: "system", ROLE_USER: "user", ROLE_ASSISTANT: "assistant" };

/** Returns a program that prints the answer as it comes, or whole where tools may be called. */
export function writeClient(request, service) {
  const { model, messages, tools, sampling = {}, ...rest } = request;
  const makers = messages.map(makerOf);
  const imported = new Set(makers.filter(Boolean));
  const client = service.grpcTls ? ["ChannelTls", "Client"] : ["Client"];
  const names = [...client, ...(tools ? [] : ["TextDelta"]), ...[...imported].sort()];
  const hasProtos = tools || makers.includes("") || messages.some((one) => one.tool_calls);
  const given = [list(messages.map((message, index) => write(message, makers[index])))];
  if (tools) given.push(`tools=${list(tools.map((tool) => `chat_pb2.Tool(${keywords(tool)})`))}`);
  for (const [name, value] of Object.entries({ ...rest, ...sampling })) {
    given.push(`${name}=${literal(value)}`);
  }
  const target = literal(service.grpc) + (service.grpcTls ? ", tls=ChannelTls()" : "");
  return [
    `from tokenwire.client import ${names.join(", ")}`,
    ...(hasProtos ? ["from tokenwire.generated.tokenwire.v1 import chat_pb2"] : []),
    "",
    ...(service.needsKey ? ["# The key is read from the variable LLM_API_KEY."] : []),
    `with Client(${target}, model=${literal(model)}) as client:`,
    "    stream = client.chat(",
    ...given.map((argument) => `        ${argument},`),
    "    )",
    ...(tools ? WHOLE : STREAMED),
    "",
  ].join("\n");
}

const STREAMED = [
  "    for event in stream:",
  "        if isinstance(event, TextDelta):",
  '            print(event.text, end="", flush=True)',
  "    print()",
];
const WHOLE = [
  "    answer = stream.answer()",
  "    print(answer.text)",
  "    for call in answer.tool_calls:",
  "        print(call.name, call.arguments)",
];

/** Returns the client's function that makes a message; "" where none does. */
function makerOf({ role, content = [] }) {
  if (role === "ROLE_TOOL") return "tool_result";
  return content.some((part) => part.image) ? "" : MAKERS[role];
}

function write({ role, content = [], tool_calls: calls, tool_call_id: callId }, maker) {
  if (!maker) {
    const parts = content.map((part) => `chat_pb2.ContentPart(${keywords(part)})`);
    return `chat_pb2.Message(role=chat_pb2.${role}, content=${list(parts, 12)})`;
  }
  const given = [literal(content.map((part) => part.text).join(""))];
  if (callId) given.unshift(literal(callId));
  if (calls) {
    given.push(`[${calls.map((call) => `chat_pb2.ToolCall(${keywords(call)})`).join(", ")}]`);
  }
  return `${maker}(${given.join(", ")})`;
}

function list(items, margin = 8) {
  const lines = items.map((item) => `${" ".repeat(margin + 4)}${item},\n`);
  return `[\n${lines.join("")}${" ".repeat(margin)}]`;
}
