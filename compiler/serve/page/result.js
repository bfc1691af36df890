// What a model answered: the action, bars for what it was chosen from, and the time it took.

import { element, shown, shownTime } from "./elements.js";

/** As many bars are shown of a list. */
const BARS = 64;
const TITLES = {
    probabilities: "Probabilities",
    q_values: "Q values",
    value: "Value",
    distribution: "What actions are drawn from",
};

/** The elements that show an answer; `names` are those of the choices, where they are known. */
export function answerShown(model, { answer, milliseconds }, names) {
    const { action, outputs, state, session, microseconds, ...details } = answer;
    const within = microseconds === undefined ? "" : `${shownTime(microseconds)} in the predictor, `;
    const parts = outputs ? outputsShown(outputs) : actionShown(model.spec.action, action, names);
    // Probabilities are the distribution, which is made of scores, and Q values are scores: once is enough.
    const finest = ["probabilities", "q_values", "distribution", "scores"].find((name) => name in details);
    const told = Object.entries(details).filter(([name]) => name === finest || name === "value");
    const titles = { ...TITLES, scores: model.spec.scores?.name.replaceAll("_", " ") };
    return [
        ...parts,
        ...told.map(([name, value]) => section(titles[name] ?? name, value, action, names)),
        element("p", { class: "time" }, `${within}${shownTime(milliseconds * 1000)} there and back.`),
    ];
}

function actionShown(space, action, names) {
    const caption = element("p", { class: "caption" }, "Action");
    if (space.kind === "Discrete") {
        const name = names[action] && element("span", { class: "named" }, names[action]);
        return [caption, element("p", { class: "action" }, `${action}`, name)];
    }
    if (space.kind !== "Box") {
        return [caption, element("p", { class: "action" }, [action].flat(Infinity).map(shownChip(space.kind)))];
    }
    const values = [action].flat(Infinity);
    const large = values.length === 1 && element("p", { class: "action" }, shown(values[0]));
    const rows = values.slice(0, BARS).map((value, place) => {
        const [low, high] = [boundOf(space.low, place), boundOf(space.high, place)];
        return bar(names[place] ?? `${place}`, value, low, high, { chosen: true });
    });
    return [caption, large || null, element("ul", { class: "bars" }, rows), rest(values)];
}

/** One choice of several; bits that are not set are pale. */
function shownChip(kind) {
    return (value) => element("span", { class: value || kind !== "MultiBinary" ? "chip on" : "chip" }, `${value}`);
}

function outputsShown(outputs) {
    return Object.entries(outputs).map(([name, value]) => section(name, value));
}

/** A title and the values under it. */
function section(name, value, action, names = []) {
    const title = element("h3", {}, name);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
        const parts = Object.entries(value).map(([key, part]) => section(key, part, action, names));
        return element("section", { class: "detail" }, title, parts);
    }
    const values = [value].flat(Infinity).map(Number);
    const share = name === TITLES.probabilities;
    if (values.length === 1 && !share) {
        return element("section", { class: "detail single" }, title, element("p", { class: "figure" }, shown(values[0])));
    }
    const [low, high] = share ? [0, 1] : [Math.min(0, ...values), Math.max(0, ...values)];
    const chosen = Number.isInteger(action) ? action : -1;
    const rows = values
        .slice(0, BARS)
        .map((each, place) => bar(names[place] ?? `${place}`, each, low, high, { share, chosen: place === chosen }));
    return element("section", { class: "detail" }, title, element("ul", { class: "bars" }, rows), rest(values));
}

/** A value as a bar from zero, or from the end that is nearest to zero. */
function bar(label, value, low, high, { share = false, chosen = false } = {}) {
    const range = high - low || 1;
    const at = (point) => Math.min(Math.max((point - low) / range, 0), 1) * 100;
    const zero = at(Math.min(Math.max(0, low), high));
    const [from, to] = [Math.min(zero, at(value)), Math.max(zero, at(value))];
    const filled = element("span", { class: "filled" });
    filled.style.left = `${from}%`;
    filled.style.width = `${Math.max(to - from, 0.5)}%`;
    const text = share ? `${(value * 100).toFixed(1)} %` : shown(value);
    return element(
        "li",
        { class: chosen ? "chosen" : false },
        element("span", { class: "label" }, label),
        element("span", { class: "track", "aria-hidden": "true" }, filled),
        element("span", { class: "value" }, text),
    );
}

function rest(values) {
    const more = values.length - BARS;
    return more > 0 ? element("p", { class: "hint" }, `and ${more.toLocaleString("en")} more`) : null;
}

function boundOf(bound, place) {
    return Array.isArray(bound) ? bound.flat(Infinity)[place] : bound;
}
