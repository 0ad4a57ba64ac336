// Renders /openapi.json: a section for each operation, then one for each schema.
// Everything goes in as text, nothing as HTML.
const spec = await (await fetch("/openapi.json")).json();
const main = document.getElementById("main");
const contents = document.getElementById("contents");

/** Makes an element of a tag with attributes and children (nodes or strings). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
}

const nameOf = (ref) => ref.split("/").pop();

/** Says a schema's type in a few words, with links to the schemas it names. */
function typeOf(schema = {}) {
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return make("a", { href: `#schema-${name}` }, name);
  }
  if (schema.oneOf) return make("span", {}, "int64 as string");
  const type = [schema.type].flat().filter((t) => t && t !== "null").join(" | ");
  if (type === "array") return make("span", {}, "[", typeOf(schema.items), "]");
  if (type === "object" && typeof schema.additionalProperties === "object") {
    return make("span", {}, "map of ", typeOf(schema.additionalProperties));
  }
  const format = schema.format && !schema.format.includes("uri") ? ` (${schema.format})` : "";
  return make("span", {}, (type || "any") + format);
}

function noteOf(schema = {}, note) {
  const values = schema.enum ? schema.enum.join(" | ") : "";
  const text = note || (schema.oneOf ? "" : schema.description) || "";
  return [text, values].filter(Boolean).join(" ");
}

const row = (name, schema, note) =>
  make("tr", {}, make("td", {}, name), make("td", {}, typeOf(schema)), make("td", {}, noteOf(schema, note)));

const table = (rows) => make("table", {}, make("tbody", {}, ...rows));

function fieldsOf(schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => row(name, field));
  return rows.length ? table(rows) : make("p", {}, "No fields.");
}

/** Shows a body: the fields of a named schema, or its type. */
function bodyOf(schema) {
  const named = schema.$ref && spec.components.schemas[nameOf(schema.$ref)];
  return named ? fieldsOf(named) : make("p", {}, typeOf(schema));
}

const who = { token: "access token", service_key: "service key" };

/** Text with what stands in backquotes as code. */
const proseOf = (text = "") => make("p", {}, ...text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part)));

const hello = { type: "text", text: "hello" };

/** Bodies of requests that mean something only with some of their fields. */
const samples = {
  "send-message": { client_msg_id: "1", to: { user_id: "…" }, content: hello },
  "edit-message": { content: hello },
  "create-broadcast": { to: { all: true }, content: hello, per_second: 100 },
  "ensure-users": { users: [{ username: "…", nickname: "…" }] },
  "answer-contact-request": { accept: true },
  "answer-join-request": { accept: true },
};

/** A command for a POSIX shell. Path parameters are variables, since curl reads braces itself. */
function exampleOf(method, path, operation) {
  const url = location.origin + path.replace(/{(\w+)}/g, (_, name) => `$${name.toUpperCase()}`);
  const implied = operation.requestBody ? "post" : "get"; // what curl does by itself
  const lines = [`curl ${method === implied ? "" : `-X ${method.toUpperCase()} `}"${url}"`];
  for (const scheme of Object.keys(operation.security?.[0] ?? {})) { // the others would do as well
    lines.push(`-H "Authorization: Bearer $${scheme.toUpperCase()}"`);
  }
  const schema = operation.requestBody?.content["application/json"].schema;
  if (schema) lines.push(`-d '${JSON.stringify(samples[operation.operationId] ?? sampleOf(schema))}'`);
  return lines.join(" \\\n  ");
}

/** A value of a schema's shape, two levels deep. */
function sampleOf(schema, depth = 0) {
  if (schema.$ref) schema = spec.components.schemas[nameOf(schema.$ref)];
  if (schema.oneOf) return "1";
  if (schema.enum) return schema.enum[0];
  const type = [schema.type].flat()[0];
  if (type === "array") return depth < 2 ? [sampleOf(schema.items, depth + 1)] : [];
  if (type === "object") {
    const fields = depth < 2 ? Object.entries(schema.properties ?? {}) : [];
    const shown = schema.description === "Exactly one of the fields." ? fields.slice(0, 1) : fields;
    return Object.fromEntries(shown.map(([name, field]) => [name, sampleOf(field, depth + 1)]));
  }
  return { integer: 0, boolean: false }[type] ?? "…";
}

function operationOf(method, path, operation) {
  const scheme = operation.security?.flatMap(Object.keys)[0];
  const section = make("section", { id: operation.operationId },
    make("h2", {}, operation.summary ?? operation.operationId),
    make("p", { class: "where" },
      make("span", { class: `method ${method}` }, method.toUpperCase()), make("code", {}, path),
      make("span", { class: "who" }, who[scheme] ?? "open to all")),
    proseOf(operation.description));
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    section.append(make("h4", {}, "Parameters"),
      table(parameters.map((p) => row(`${p.name} (${p.in})`, p.schema, p.description))));
  }
  const body = operation.requestBody?.content["application/json"];
  if (body) section.append(make("h4", {}, "Body"), bodyOf(body.schema));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const schema = Object.values(answer.content ?? {})[0]?.schema;
    if (status === "default") section.append(make("h4", {}, "Errors"), make("p", {}, typeOf(schema)));
    else section.append(make("h4", {}, `${status} ${answer.description}`), schema ? bodyOf(schema) : "");
  }
  section.append(make("h4", {}, "Example"), make("pre", {}, make("code", {}, exampleOf(method, path, operation))));
  return section;
}

function contentsOf(title, links) {
  contents.append(make("h2", {}, title), ...links.map(([id, text]) => make("a", { href: `#${id}` }, text)));
}

const operations = Object.entries(spec.paths)
  .flatMap(([path, item]) => Object.entries(item).map(([method, operation]) => ({ method, path, operation })));

main.append(make("h1", {}, "HTTP API"), proseOf(`Version ${spec.info.version}. ${spec.info.description}`));
for (const { name: tag } of spec.tags) {
  const tagged = operations.filter(({ operation }) => operation.tags.includes(tag));
  contentsOf(tag, tagged.map(({ operation }) => [operation.operationId, operation.summary]));
  main.append(...tagged.map(({ method, path, operation }) => operationOf(method, path, operation)));
}
const schemas = Object.entries(spec.components.schemas);
contentsOf("Schemas", schemas.map(([name]) => [`schema-${name}`, name]));
for (const [name, schema] of schemas) {
  const note = schema.description ? proseOf(schema.description) : "";
  main.append(make("section", { id: `schema-${name}` }, make("h2", {}, name), note, fieldsOf(schema)));
}

const nothing = make("p", { hidden: "" }, "Nothing has that.");
main.append(nothing);

/** Shows the sections that hold a text, and of the contents their links, under headings that have some. */
document.getElementById("filter").addEventListener("input", ({ target }) => {
  const wanted = target.value.trim().toLowerCase();
  const shown = new Set();
  for (const section of main.querySelectorAll("section")) {
    section.hidden = !section.textContent.toLowerCase().includes(wanted);
    if (!section.hidden) shown.add(`#${section.id}`);
  }
  let heading;
  for (const element of contents.children) {
    if (element.tagName === "H2") {
      heading = element;
      heading.hidden = true;
      continue;
    }
    element.hidden = !shown.has(element.getAttribute("href"));
    if (!element.hidden) heading.hidden = false;
  }
  nothing.hidden = shown.size > 0;
});
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
