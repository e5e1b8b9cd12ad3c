// Renders openapi.json: groups, routes, parameters, bodies, answers, and a curl line for each.
"use strict";

const METHODS = ["get", "put", "post", "patch", "delete"];

function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

// Text with `code` in backticks.
function text(source) {
  const span = el("span");
  (source || "").split("`").forEach((part, at) => span.append(at % 2 ? el("code", {}, part) : part));
  return span;
}

const nameOf = (reference) => reference.split("/").pop();

// A type in few words; a link where it has a name.
function type(schema) {
  if (!schema) return el("span", { class: "muted" }, "any");
  if (schema.$ref) return el("a", { href: "#schema-" + nameOf(schema.$ref) }, nameOf(schema.$ref));
  const any = schema.oneOf || schema.anyOf;
  if (any) return joined(any.map(type), " or ");
  if (schema.allOf) return joined(schema.allOf.map(type), " and ");
  if (schema.const !== undefined) return el("code", {}, JSON.stringify(schema.const));
  if (schema.enum) return el("span", {}, schema.enum.map((v) => JSON.stringify(v)).join(" | "));
  const types = [].concat(schema.type || "any");
  if (types.includes("array")) return el("span", {}, "array of ", type(schema.items), types.includes("null") ? " or null" : "");
  let words = types.join(" or ");
  const notes = [];
  if (schema.format && !/^u?int/.test(schema.format)) notes.push(schema.format);
  for (const [key, label] of [["minimum", "≥ "], ["maximum", "≤ "], ["maxLength", "length ≤ "], ["default", "default "]]) {
    if (schema[key] !== undefined && !(key === "minimum" && schema[key] === 0)) notes.push(label + schema[key]);
  }
  if (notes.length) words += " (" + notes.join(", ") + ")";
  return el("span", {}, words);
}

function joined(elements, between) {
  const span = el("span");
  elements.forEach((element, at) => span.append(...(at ? [between, element] : [element])));
  return span;
}

function table(heads, rows) {
  const head = el("tr", {}, ...heads.map((h) => el("th", { scope: "col" }, h)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((c) => el("td", {}, c))));
  return el("div", { class: "table", tabindex: "0", role: "group", "aria-label": heads.join(", ") },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}

function curl(method, path, operation) {
  const parts = ["curl"];
  if (method !== "get") parts.push("-X " + method.toUpperCase());
  if ((operation.security || []).length) parts.push('-H "Authorization: Bearer $TOKEN"');
  const content = operation.requestBody && Object.keys(operation.requestBody.content)[0];
  if (content) parts.push('-H "Content-Type: ' + content + '" --data @body.json');
  if (path === "/api/v1/apps/{app}" && (method === "put" || method === "delete")) parts.push("-H 'If-Match: *'");
  parts.push("'" + location.origin + path.replace(/\{(\w+)\}/g, (_, name) => name.toUpperCase()) + "'");
  return el("pre", { tabindex: "0", "aria-label": "curl" }, parts.join(" "));
}

function route(path, method, operation) {
  const inside = el("div");
  if (operation.description) inside.append(el("p", {}, text(operation.description)));
  inside.append(curl(method, path, operation));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    inside.append(el("h3", {}, "Parameters"), table(["Name", "In", "Type", "Meaning"], parameters.map((p) => [
      el("code", {}, p.name + (p.required ? " *" : "")), p.in, type(p.schema), text(p.description)])));
  }
  if (operation.requestBody) {
    const bodies = Object.entries(operation.requestBody.content);
    inside.append(el("h3", {}, "Body"), ...bodies.map(([media, content]) => el("div", {},
      el("p", {}, el("code", {}, media), " ", type(content.schema)),
      content.example ? el("pre", { tabindex: "0", "aria-label": "example" }, JSON.stringify(content.example, null, 2)) : null)));
  }
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const bodies = Object.entries(answer.content || {}).map(([media, content]) =>
      el("div", {}, el("code", {}, media), " ", type(content.schema)));
    return [el("code", {}, status), text(answer.description), el("div", {}, ...bodies)];
  });
  inside.append(el("h3", {}, "Answers"), table(["Status", "Meaning", "Body"], answers));
  const id = "route-" + operation.operationId;
  const open = !(operation.security || []).length;
  const details = el("details", { class: "route", id }, el("summary", {},
    el("span", { class: "method " + method }, method.toUpperCase()), el("code", {}, path),
    el("span", { class: "muted" }, operation.summary || "", open ? " (no token)" : "")), inside);
  details.dataset.text = [method, path, operation.summary, operation.description, ...Object.keys(operation.responses)].join(" ").toLowerCase();
  return details;
}

function properties(schema) {
  const all = [].concat(schema.allOf || [], schema);
  const rows = [];
  for (const part of all) {
    for (const [name, property] of Object.entries(part.properties || {})) {
      const required = (part.required || []).includes(name);
      rows.push([el("code", {}, name + (required ? " *" : "")), type(property), text(property.description)]);
    }
  }
  return rows;
}

function schemaView(name, schema) {
  const inside = el("div", {}, schema.description ? el("p", {}, text(schema.description)) : null);
  const variants = schema.oneOf || schema.anyOf;
  const rows = properties(schema);
  if (rows.length) inside.append(table(["Field", "Type", "Meaning"], rows));
  else if (variants) inside.append(table(["Variant", "Meaning"], variants.map((v) => [
    v.properties ? table(["Field", "Type", "Meaning"], properties(v)) : type(v), text(v.description)])));
  else inside.append(el("p", {}, type(schema)));
  const details = el("details", { class: "route", id: "schema-" + name }, el("summary", {}, el("code", {}, name)), inside);
  details.dataset.text = (name + " " + (schema.description || "")).toLowerCase();
  return details;
}

function section(id, title, about, children) {
  return el("section", { id, "aria-labelledby": id + "-title" },
    el("h2", { id: id + "-title" }, title, " ", about ? el("small", {}, about) : null), ...children);
}

function render(api) {
  const groups = new Map(api.tags.map((tag) => [tag.name, { about: tag.description, routes: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      if (item[method]) groups.get(item[method].tags[0]).routes.push(route(path, method, item[method]));
    }
  }
  const main = document.getElementById("main");
  main.replaceChildren(el("p", { class: "about" }, text(api.info.description)));
  const list = el("ul");
  const add = (id, title, about, children) => {
    main.append(section(id, title, about, children));
    list.append(el("li", {}, el("a", { href: "#" + id }, title)));
  };
  for (const [name, group] of groups) add("group-" + name, name, group.about, group.routes);
  const schemas = Object.entries(api.components.schemas);
  add("schemas", "schemas", "what bodies and answers are made of", schemas.map(([name, schema]) => schemaView(name, schema)));
  document.getElementById("nav").replaceChildren(list);
}

function search() {
  const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const details of document.querySelectorAll("details.route")) {
    details.hidden = !words.every((word) => details.dataset.text.includes(word));
    shown += details.hidden ? 0 : 1;
  }
  for (const part of document.querySelectorAll("main > section")) {
    part.hidden = !part.querySelector("details.route:not([hidden])");
  }
  document.getElementById("count").textContent = words.length ? shown + " found" : "";
}

// A link opens what it leads to.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus();
  }
}

async function start() {
  try {
    const answer = await fetch("/api/v1/openapi.json");
    if (!answer.ok) throw new Error("status " + answer.status);
    render(await answer.json());
  } catch (error) {
    document.getElementById("loading").textContent = "openapi.json cannot be read: " + error.message + ". Reload to try again.";
    return;
  }
  document.getElementById("search").addEventListener("input", search);
  addEventListener("hashchange", openTarget);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target.tagName !== "INPUT") {
      event.preventDefault();
      document.getElementById("search").focus();
    }
  });
  openTarget();
}

start();
