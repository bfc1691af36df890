// The documentation of the API at `/docs`: what /openapi.json says, as text, with a form to try each operation.

import { Refusal, request } from "./api.js";
import { element, freshId, shownTime } from "./elements.js";
import { askForTokens } from "./lock.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
/** As deep are schemas shown. */
const DEPTH = 8;
/** Bounds from here on are those of float32 itself. */
const FLOAT32 = 3.4e38;
/** As much of an answer is shown. */
const SHOWN = 20000;

let api;

/** What a reference of the document stands for. */
function resolved(part) {
    let found = part;
    for (let hops = 0; found?.$ref && hops < 10; hops++) {
        const keys = found.$ref.replace("#/", "").split("/");
        found = keys.reduce((inner, key) => inner?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], api);
    }
    return found ?? {};
}

/** One operation: what it does, takes and answers. */
function operationShown({ method, path, operation, parameters }) {
    const body = resolved(operation.requestBody);
    const parts = [
        operation.description ? element("p", {}, prose(operation.description)) : null,
        parameters.length ? section("Parameters", parametersShown(parameters)) : null,
        body.content ? section("Request", contentShown(body.content)) : null,
        section("Answers", Object.entries(operation.responses ?? {}).map(responseShown)),
        section("Try it", trial(method, path, parameters, body)),
    ];
    return element(
        "details",
        { class: "card operation", id: idOf(method, path) },
        element("summary", {}, badge(method), element("code", {}, path), element("span", {}, prose(operation.summary))),
        element("div", { class: "group" }, parts),
    );
}

/** A description's text, with what stands between backquotes as code. */
function prose(text = "") {
    return text.split("`").map((part, place) => (place % 2 ? element("code", {}, part) : part));
}

function badge(method) {
    return element("span", { class: `method ${method}` }, method.toUpperCase());
}

function idOf(method, path) {
    return `${method}${path.replaceAll(/[^A-Za-z0-9]+/g, "-")}`;
}

function section(title, ...children) {
    return element("section", {}, element("h3", {}, title), children);
}

function parametersShown(parameters) {
    return element(
        "dl",
        { class: "schema" },
        parameters.map((parameter) => property(parameter.name, parameter.schema, parameter.required, parameter.description)),
    );
}

function responseShown([status, response]) {
    const { description = "", content = {}, headers = {} } = resolved(response);
    const names = Object.keys(headers);
    return element(
        "details",
        { class: "response" },
        element("summary", {}, element("code", { class: `status s${status[0]}` }, status), " ", prose(description)),
        names.length ? element("p", { class: "hint" }, `Headers: ${names.join(", ")}`) : null,
        contentShown(content),
    );
}

function contentShown(content) {
    return Object.entries(content).map(([type, { schema, example, examples }]) =>
        element(
            "div",
            { class: "content" },
            element("p", { class: "hint" }, type),
            schema ? schemaShown(schema, 0) : null,
            examplesOf({ schema, example, examples }).map(([name, value]) =>
                element("pre", { class: "command", tabindex: "0", "aria-label": name || "example" }, json(value)),
            ),
        ),
    );
}

/** The examples of a body, by their names. */
function examplesOf({ schema, example, examples }) {
    if (examples) {
        return Object.entries(examples).map(([name, value]) => [name, resolved(value).value]);
    }
    const inner = resolved(schema);
    const found = example ?? inner.example ?? inner.examples?.[0];
    return found === undefined ? [] : [["", found]];
}

function json(value) {
    return typeof value === "string" ? value : JSON.stringify(value);
}

/** A schema as a list of what it holds. */
function schemaShown(schema, depth) {
    const inner = resolved(schema);
    if (depth > DEPTH) {
        return element("p", { class: "hint" }, "…");
    }
    const choices = inner.anyOf ?? inner.oneOf ?? inner.allOf;
    if (inner.properties) {
        const required = new Set(inner.required ?? []);
        const rows = Object.entries(inner.properties).map(([name, part]) =>
            property(name, part, required.has(name), resolved(part).description, depth),
        );
        return element("dl", { class: "schema" }, rows);
    }
    if (choices && choices.some((choice) => resolved(choice).properties)) {
        return element("div", { class: "choices" }, choices.map((choice) => schemaShown(choice, depth + 1)));
    }
    return element("p", { class: "type" }, typeOf(inner, depth));
}

function property(name, schema, required, description, depth = 0) {
    const inner = resolved(schema);
    const nested = inner.properties || (inner.items && resolved(inner.items).properties);
    return [
        element("dt", {}, element("code", {}, name), required ? element("span", { class: "required" }, " required") : null),
        element(
            "dd",
            {},
            element("span", { class: "type" }, typeOf(inner, depth)),
            description ? element("p", { class: "hint" }, prose(description)) : null,
            nested ? schemaShown(inner.properties ? inner : inner.items, depth + 1) : null,
        ),
    ];
}

/** A type in a few words: `array of 4 numbers, or object`. */
function typeOf(schema, depth = 0) {
    const inner = resolved(schema);
    const choices = inner.anyOf ?? inner.oneOf;
    if (depth > DEPTH) {
        return "…";
    }
    if (choices) {
        return choices.map((choice) => typeOf(choice, depth + 1)).join(", or ");
    }
    if (inner.enum || "const" in inner) {
        return (inner.enum ?? [inner.const]).map((value) => JSON.stringify(value)).join(" | ");
    }
    const kind = [inner.type ?? "bytes"].flat().join(" or ");
    const bounded = ["minimum", "maximum"].some((bound) => Math.abs(inner[bound]) < FLOAT32);
    const limits = [
        bounded ? `${inner.minimum ?? "−∞"} … ${inner.maximum ?? "∞"}` : "",
        "exclusiveMaximum" in inner ? `below ${inner.exclusiveMaximum}` : "",
        "default" in inner ? `default ${JSON.stringify(inner.default)}` : "",
    ].filter(Boolean);
    const told = limits.length ? ` (${limits.join(", ")})` : "";
    if (inner.type === "array") {
        const count = inner.minItems !== undefined && inner.minItems === inner.maxItems ? ` of ${inner.minItems}` : "";
        return `array${count}: ${inner.items ? typeOf(inner.items, depth + 1) : "anything"}`;
    }
    return `${kind}${told}`;
}

/** A form that sends the request. */
function trial(method, path, parameters, body) {
    const fields = parameters.map((parameter) => {
        const id = freshId();
        const value = parameter.example ?? resolved(parameter.schema).example ?? "";
        const input = element("input", { type: "text", id, value, required: parameter.required });
        return { parameter, input, element: element("div", { class: "field" }, element("label", { for: id }, parameter.name), input) };
    });
    const types = Object.keys(body.content ?? {});
    const type = types.find((each) => each.includes("json"));
    const id = freshId();
    const example = type ? examplesOf(body.content[type])[0]?.[1] : undefined;
    const area = type && element("textarea", { id, rows: 5, spellcheck: "false" }, example === undefined ? "{}" : json(example));
    const status = element("p", { class: "hint", role: "status" });
    const answer = element("pre", { class: "command", tabindex: "0", "aria-label": "the answer", hidden: true });
    const form = element(
        "form",
        { novalidate: true },
        fields.map((field) => field.element),
        area ? element("div", { class: "field" }, element("label", { for: id }, `Body, ${type}`), area) : null,
        element("div", { class: "buttons" }, element("button", { class: "primary" }, "Send")),
        status,
        answer,
    );
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const begin = performance.now();
        try {
            const response = await request(addressOf(path, fields), {
                method: method.toUpperCase(),
                headers: { ...headersOf(fields), ...(area && { "Content-Type": type }) },
                ...(area && { body: area.value }),
            });
            status.textContent = `${response.status}, ${shownTime((performance.now() - begin) * 1000)}`;
            answer.textContent = (await response.text()).slice(0, SHOWN);
        } catch (error) {
            if (!(error instanceof Refusal)) {
                throw error;
            }
            status.textContent = `${error.status}, ${shownTime((performance.now() - begin) * 1000)}`;
            answer.textContent = error.path ? `${error.message}\n${error.path}` : error.message;
        }
        answer.hidden = false;
    });
    return form;
}

/** The address with its parameters, relative to this page. */
function addressOf(path, fields) {
    let address = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of fields) {
        if (parameter.in === "path") {
            address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
        } else if (parameter.in === "query" && input.value) {
            query.set(parameter.name, input.value);
        }
    }
    return `.${address}${query.size ? `?${query}` : ""}`;
}

function headersOf(fields) {
    const given = fields.filter(({ parameter, input }) => parameter.in === "header" && input.value);
    return Object.fromEntries(given.map(({ parameter, input }) => [parameter.name, input.value]));
}

function operations() {
    return Object.entries(api.paths ?? {}).flatMap(([path, item]) =>
        METHODS.filter((method) => method in item).map((method) => {
            const operation = item[method];
            const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolved);
            return { method, path, operation, parameters };
        }),
    );
}

/** The model that an address is about, or else the server. */
function groupOf(path) {
    return path.match(/\/models\/([^/]+)/)?.[1] ?? (path === "/predict" ? "The first model" : "The server");
}

async function start() {
    const at = (id) => document.getElementById(id);
    askForTokens();
    try {
        api = await (await request("openapi.json")).json();
    } catch (error) {
        at("failed").textContent = error.message;
        at("failed").hidden = false;
        return;
    }
    at("name").textContent = api.info?.title ?? "API";
    at("description").replaceChildren(...prose(api.info?.description));
    const groups = Map.groupBy(operations(), ({ path }) => groupOf(path));
    at("operations").replaceChildren(
        ...[...groups].map(([name, all]) =>
            element("section", { class: "operations" }, element("h2", { id: `of-${name}` }, name), all.map(operationShown)),
        ),
    );
    at("contents").replaceChildren(...[...groups.keys()].map((name) => element("a", { href: `#of-${name}` }, name)));
    at("content").hidden = false;
    const open = () => {
        const target = document.getElementById(location.hash.slice(1));
        if (target instanceof HTMLDetailsElement) {
            target.open = true;
            target.scrollIntoView();
        }
    };
    addEventListener("hashchange", open);
    open();
}

start();
