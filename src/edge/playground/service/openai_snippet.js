// A request as a program with OpenAI's own client.

import { literal } from "./python_literals.js";

/** Returns a program that prints the answer as it comes. */
export function writeOpenai(request, service) {
  const given = Object.entries(fieldsOf(request));
  const key = service.needsKey ? 'os.environ["LLM_API_KEY"]' : '"none"';
  return [
    ...(service.needsKey ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(`${service.origin}/v1`)}, api_key=${key})`,
    "stream = client.chat.completions.create(",
    ...given.map(([name, value]) => `    ${name}=${literal(value, 4)},`),
    ")",
    "for chunk in stream:",
    "    for choice in chunk.choices:",
    '        print(choice.delta.content or "", end="", flush=True)',
    ...(request.tools ? TOOL_CALLS : []),
    "print()",
    "",
  ].join("\n");
}

const TOOL_CALLS = [
  "        for call in choice.delta.tool_calls or []:",
  '            print(call.function.name or "", call.function.arguments or "", end="")',
];

function fieldsOf({ model, messages, tools, sampling, constraint, reasoning, continue_last_message: goesOn }) {
  const extra = {
    // Fields of vLLM, which OpenAI has none for.
    ...(goesOn && { continue_final_message: true, add_generation_prompt: false }),
    ...(reasoning?.enabled && { chat_template_kwargs: { enable_thinking: true } }),
    ...structured(constraint),
  };
  return {
    model,
    messages: messages.map(messageOf),
    ...(tools && { tools: tools.map(toolOf) }),
    ...sampling,
    ...(reasoning?.enabled === false && { reasoning_effort: "none" }),
    ...formatOf(constraint),
    ...(Object.keys(extra).length && { extra_body: extra }),
    stream: true,
  };
}

function messageOf({ role, content = [], tool_calls: calls, tool_call_id: callId }) {
  const message = { role: role.replace("ROLE_", "").toLowerCase() };
  if (content.some((part) => part.image)) message.content = content.map(partOf);
  else if (content.length) message.content = content.map((part) => part.text).join("");
  if (callId) message.tool_call_id = callId;
  if (calls) {
    message.tool_calls = calls.map(({ id, ...called }) => ({
      id,
      type: "function",
      function: called,
    }));
  }
  return message;
}

function partOf({ text, image }) {
  return image ? { type: "image_url", image_url: { url: image.url } } : { type: "text", text };
}

function toolOf({ name, description, parameters_schema: schema }) {
  const parameters = schema ? JSON.parse(schema) : { type: "object" };
  return { type: "function", function: { name, ...(description && { description }), parameters } };
}

function formatOf(constraint) {
  if (constraint?.json_object) return { response_format: { type: "json_object" } };
  if (!constraint?.json_schema) return {};
  const schema = JSON.parse(constraint.json_schema);
  const described = { name: "answer", strict: true, schema };
  return { response_format: { type: "json_schema", json_schema: described } };
}

function structured(constraint) {
  if (constraint?.regex) return { structured_outputs: { regex: constraint.regex } };
  if (constraint?.choice) return { structured_outputs: { choice: constraint.choice.values } };
  return constraint?.ebnf ? { structured_outputs: { grammar: constraint.ebnf } } : {};
}
