// A card for each operation of the OpenAPI document: run it, or copy it as curl or Python.
import { curl, python } from "./snippets.js";
import { element, headerOf, json, request, stored } from "./session.js";

const FEW = 12; // cards that are open at first; more than these also get a filter
const SERVER = "server"; // the tag of the operations of the group operate
const SHOWN_BYTES = 65536;
const JSON_TYPE = "application/json";
const PARTS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

export async function showOperations(section) {
  const status = section.querySelector("[role=status]");
  try {
    const api = await json(section.dataset.source);
    const operations = all(api);
    section.append(...groupsOf(api, operations, section.dataset.documentation));
    status.hidden = true;
    if (operations.length > FEW) addFilter(section, status);
  } catch (error) {
    status.textContent = error.message;
  }
}

function all(api) {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, described]) => ({ ...described, path, method, tag: described.tags[0] })));
}

function groupsOf(api, operations, documentation) {
  let cards = 0;
  return api.tags.map((tag) => {
    const own = operations.filter((one) => one.tag === tag.name);
    const group = element("details", { class: "group" },
      element("summary", {}, element("h3", {}, tag.name), element("span", { class: "dim" }, tag.description ?? "")),
      element("div", { class: "cards" }, ...own.map((one) => card(api, one, documentation))));
    group.open = cards < FEW && cards + own.length <= FEW;
    cards += own.length;
    return group;
  });
}

function addFilter(section, status) {
  const input = section.querySelector(".filter input");
  const groups = [...section.querySelectorAll(".group")];
  const before = groups.map((group) => group.open);
  input.closest(".filter").hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let found = 0;
    groups.forEach((group, place) => {
      let inGroup = 0;
      for (const one of group.querySelectorAll(".card")) {
        one.hidden = !one.dataset.text.includes(wanted);
        inGroup += !one.hidden;
      }
      group.hidden = inGroup === 0;
      group.open = wanted ? inGroup > 0 : before[place];
      found += inGroup;
    });
    status.hidden = !wanted;
    status.textContent = `${found} ${found === 1 ? "operation" : "operations"}`;
  });
}

function card(api, operation, documentation) {
  const { method, path, operationId, tag, summary } = operation;
  const name = `${method.toUpperCase()} ${path}`;
  const writes = method !== "get";
  const output = element("div", { class: "output", hidden: true });
  const form = element("form", {},
    ...fieldsOf(operation), ...bodyOf(api, operation),
    element("p", { class: "actions" },
      button(writes ? "Run this write" : "Run", name, { class: "primary" }),
      button("Copy as curl", name, { type: "button", "data-as": "curl" }),
      button("Copy as Python", name, { type: "button", "data-as": "python" }),
      element("a", {
        href: `${documentation}#/${encodeURIComponent(tag)}/${encodeURIComponent(operationId)}`,
        "aria-label": `Docs of ${name}`,
      }, "Docs")));
  const text = `${name} ${summary} ${tag}`.toLowerCase();
  const made = element("article", {
    class: "panel card", "data-operation": operationId, "data-text": text, "data-group-needed": groupOf(operation),
  },
    element("h4", {}, element("b", { class: writes ? "writes" : null }, method.toUpperCase()),
      " ", element("code", {}, path)),
    element("p", {}, summary), form, output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(callOf(operation, form), output);
  });
  form.addEventListener("click", (event) => {
    const as = event.target.dataset.as;
    if (as && form.reportValidity()) copy(callOf(operation, form), as, output);
  });
  return made;
}

// Its name says which operation it belongs to, where cards are not seen side by side.
const button = (text, name, attributes) => element("button", { ...attributes, "aria-label": `${text}: ${name}` }, text);

function fieldsOf({ parameters = [] }) {
  const fields = (wanted) => parameters.filter((one) => one.in === "path" || one.in === "query")
    .filter((one) => Boolean(one.required) === wanted).map(field);
  const [required, optional] = [fields(true), fields(false)];
  return [
    ...(required.length ? [element("div", { class: "fields" }, ...required)] : []),
    ...(optional.length ? [element("details", {},
      element("summary", {}, `${optional.length}${required.length ? " more" : ""} parameter${optional.length === 1 ? "" : "s"}`),
      element("div", { class: "fields" }, ...optional))] : []),
  ];
}

function field({ name, required, description, example, schema }) {
  const given = example ?? schema.examples?.[0];
  // An optional parameter without an example would filter; what a path needs must be there.
  const value = example ?? (required ? schema.default ?? schema.enum?.[0] : undefined);
  const attributes = { name, required: Boolean(required), "data-place": "parameter" };
  const choices = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  const input = choices
    ? element("select", attributes, ...(required ? [] : [element("option", { value: "" }, "")]),
      ...choices.map((choice) => element("option", { selected: choice === value }, String(choice))))
    : element("input", {
      ...attributes, value: value === undefined ? null : String(value), autocomplete: "off",
      placeholder: given === undefined ? null : String(given),
    });
  return element("label", {}, name, input, ...(description ? [element("small", {}, description)] : []));
}

function bodyOf(api, { requestBody, operationId }) {
  const schema = requestBody?.content[JSON_TYPE]?.schema;
  if (!schema) return [];
  const text = JSON.stringify(exampleOf(api, schema), null, 2);
  return [element("details", {}, element("summary", {}, "Body"),
    element("textarea", { name: "body", spellcheck: "false", "aria-label": `Body of ${operationId}, as JSON` }, text))];
}

function exampleOf(api, schema) {
  if (schema.$ref) return exampleOf(api, api.components.schemas[schema.$ref.split("/").pop()]);
  if (schema.examples) return schema.examples[0];
  return schema.type === "array" ? [exampleOf(api, schema.items)] : {};
}

// What to send: {method, url, query, headers, body}, with texts that are not encoded yet.
function callOf(operation, form) {
  const call = { method: operation.method.toUpperCase(), headers: [], query: [], body: form.elements.body?.value };
  let path = operation.path;
  for (const one of operation.parameters ?? []) {
    const value = form.elements[one.name]?.value ?? "";
    if (one.in === "path") path = path.replace(`{${one.name}}`, () => encodeURIComponent(value));
    else if (one.in === "query" && value !== "") {
      // Repeated where the parameter repeats, else joined by commas as it is written.
      const values = one.schema.type === "array" && one.explode !== false ? value.split(",") : [value];
      call.query.push(...values.map((each) => [one.name, each]));
    } else if (one.name === "Idempotency-Key") call.headers.push([one.name, uuid()]);
  }
  if (call.body !== undefined) call.headers.push(["Content-Type", JSON_TYPE]);
  call.url = new URL(document.documentElement.dataset.home.replace(/\/$/, "") + path, location).href;
  call.credential = credentialOf(operation.security ?? []);
  return call;
}

// Of an operation that requires one: like this tab's, else as its first method takes it.
function credentialOf([scheme]) {
  if (!scheme) return null;
  if (stored()) return headerOf(stored());
  return "keys" in scheme ? ["X-API-Key", ""] : ["Authorization", "Bearer "];
}

// Buttons of operations that the caller may not run are disabled.
export function allow(section, groups) {
  for (const card of section.querySelectorAll(".card[data-group-needed]")) {
    card.querySelector(".primary").disabled = !groups.includes(card.dataset.groupNeeded);
  }
}

function groupOf({ security, tag, method }) {
  if (!security) return null;
  if (tag === SERVER) return "operate";
  return method === "get" ? "read" : "write";
}

// crypto.randomUUID exists only where the page came over HTTPS or from this machine.
function uuid() {
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

async function run(call, output) {
  show(output, "Running …");
  const began = performance.now();
  const query = new URLSearchParams(call.query).toString();
  try {
    const response = await request(call.url + (query && `?${query}`), {
      method: call.method, headers: call.headers, body: call.body,
    });
    const [text, whole] = await beginning(response);
    const ms = Math.round(performance.now() - began);
    const type = response.headers.get("Content-Type") ?? "";
    const id = response.ok ? "" : `, request id ${response.headers.get("X-Request-ID")}`;
    show(output, `${response.status} ${response.statusText} in ${ms} ms${id}${whole ? "" : ", the first 64 KiB"}`,
      whole && type.includes("json") && !type.includes("ndjson") ? indented(text) : text, !response.ok);
  } catch (error) {
    show(output, `No response: ${error.message}`, "", true);
  }
}

// The first SHOWN_BYTES of a body, and whether that is all: a stream can be of any length.
async function beginning(response) {
  if (!response.body) return ["", true];
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let length = 0; length < SHOWN_BYTES;) {
    const { done, value } = await reader.read();
    if (done) return [text, true];
    length += value.length;
    text += decoder.decode(value, { stream: true });
  }
  reader.cancel();
  return [text.slice(0, SHOWN_BYTES), false];
}

// JSON on several lines. Not parsed, because that would change numbers such as 20.00.
function indented(text) {
  let depth = 0;
  let made = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [part] of text.matchAll(PARTS)) {
    if (part === "{" || part === "[") {
      depth += 1;
      made += part + line();
    } else if (part === "}" || part === "]") {
      depth -= 1;
      made = made.endsWith(`${line()}  `) ? made.trimEnd() + part : made + line() + part;
    } else if (part === ",") made += part + line();
    else made += part === ":" ? ": " : part;
  }
  return made;
}

async function copy(call, as, output) {
  const text = (as === "curl" ? curl : python)(call);
  try {
    await navigator.clipboard.writeText(text);
    show(output, "Copied to the clipboard:", text);
  } catch {
    // The clipboard is closed to pages that came over plain HTTP from another machine.
    show(output, "Copy this:", text);
  }
}

function show(output, sentence, text = "", bad = false) {
  output.hidden = false;
  output.closest(".card").classList.add("open");
  if (!output.firstChild) {
    output.append(element("p", { role: "status" }), element("pre", { tabindex: "0", role: "region", "aria-label": "Result" }));
  }
  const [status, place] = output.children;
  status.textContent = sentence;
  status.classList.toggle("bad", bad);
  place.textContent = text;
  place.hidden = !text;
}
