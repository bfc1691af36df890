// The form that asks a model, made from what it takes, and the answer beside it.

import { Refusal, addressOf, predict } from "./api.js";
import { arrayControl, controlOf, masksControl } from "./controls.js";
import { element } from "./elements.js";
import { answerShown } from "./result.js";

/** As many choices have a check box that forbids them. */
const MASKS = 64;
/** Milliseconds between two answers while a slider moves. */
const BETWEEN = 40;
/** Milliseconds before the first answer. */
const FIRST = 150;

/** The form and the answer, as two elements. `fields` are names of the observation's values, `actions` of choices. */
export function askingOf(model, fields, actions) {
    const { spec } = model;
    const policy = "observation" in spec;
    const remembers = "state" in spec || "states" in spec;
    const inputs = policy ? policyInputs(model, fields, actions) : programInputs(spec);
    const heavy = policy ? weightOf(spec.observation) > MASKS : true;
    const live = !remembers && !heavy;
    const follow = element("input", { type: "checkbox", checked: live });
    const drawn = element("input", { type: "checkbox" });
    const memory = element("p", { class: "hint", role: "status" }, remembers ? "A new episode." : "");
    const command = element("pre", { class: "command", tabindex: "0", "aria-label": "the same request with curl" });
    const failure = element("p", { class: "error", role: "alert", hidden: true });
    const answer = element("div", { class: "answer", "aria-live": "polite" });
    let state;
    let steps = 0;
    let asked = 0;

    /** The body of a request. */
    function content() {
        const made = inputs.value();
        if (drawn.checked) {
            made.deterministic = false;
        }
        return { ...made, details: true };
    }

    async function ask() {
        asked += 1;
        const mine = asked;
        try {
            const question = content();
            command.textContent = curl(model, question);
            const found = await predict(model, state === undefined ? question : { ...question, state });
            if (mine !== asked) {
                return;
            }
            if (remembers) {
                state = found.answer.state;
                steps += 1;
                memory.textContent = `Step ${steps} of an episode: the next answer depends on this one.`;
            }
            failure.hidden = true;
            answer.classList.remove("stale");
            answer.replaceChildren(...answerShown(model, found, actions).filter(Boolean));
        } catch (error) {
            if (mine === asked) {
                fail(error);
            }
        }
    }

    function fail(error) {
        if (!(error instanceof Refusal)) {
            throw error;
        }
        answer.classList.add("stale");
        failure.replaceChildren(error.message, error.path ? element("code", {}, ` ${error.path}`) : "");
        failure.hidden = false;
    }

    let waiting = 0;
    /** Asks soon; several changes in a moment are one. */
    function askSoon() {
        if (!waiting && follow.checked) {
            waiting = setTimeout(() => {
                waiting = 0;
                ask();
            }, BETWEEN);
        }
    }

    function forget() {
        state = undefined;
        steps = 0;
        memory.textContent = "A new episode.";
    }

    const button = (text, click) => element("button", { type: "button", click }, text);
    const change = (how) => () => {
        inputs[how]();
        askSoon();
    };
    const form = element(
        "form",
        { novalidate: true, input: askSoon, change: askSoon },
        inputs.element,
        spec.sampling ? element("label", { class: "check" }, drawn, "Draw the action instead of taking the best") : null,
        remembers ? null : element("label", { class: "check" }, follow, "Ask at every change"),
        element(
            "div",
            { class: "buttons" },
            element("button", { class: "primary" }, "Predict"),
            button("Random", change("randomize")),
            button("Reset", change("reset")),
            remembers ? button("New episode", forget) : null,
        ),
        remembers ? memory : null,
        element("details", {}, element("summary", {}, "The same with curl"), command),
    );
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        ask();
    });
    if (live) {
        // After the page is there: what it takes to make it is no part of the first answer's time.
        setTimeout(ask, FIRST);
    } else {
        answer.append(element("p", { class: "hint" }, "Press Predict."));
    }
    return { form, answer: element("div", { class: "answered" }, failure, answer) };
}

function policyInputs(model, fields, actions) {
    const { spec, bounds } = model;
    const observation = controlOf(spec.observation, bounds, "Observation", model.fields ?? fields);
    const count = spec.action_masks?.count ?? 0;
    const masks = count && count <= MASKS ? masksControl(count, actions) : null;
    const all = [observation, ...(masks ? [masks] : [])];
    return {
        element: element("div", { class: "group" }, all.map((control) => control.element)),
        value: () => ({ observation: observation.value(), ...(masks && { action_masks: masks.value() }) }),
        randomize: () => observation.randomize(),
        reset: () => all.forEach((control) => control.reset()),
    };
}

function programInputs(spec) {
    const controls = spec.inputs.map(({ name, shape, dtype }) => [
        name,
        arrayControl({ ...sizesOf(shape), dtype }, null, name),
    ]);
    return {
        element: element("div", { class: "group" }, controls.map(([, control]) => control.element)),
        value: () => ({ inputs: Object.fromEntries(controls.map(([name, control]) => [name, control.value()])) }),
        randomize: () => controls.forEach(([, control]) => control.randomize()),
        reset: () => controls.forEach(([, control]) => control.reset()),
    };
}

/** The shape of one input without the batch, and whether a length of it varies (`steps<=20`), which is the largest. */
function sizesOf(shape) {
    const sizes = shape[0] === "batch" ? shape.slice(1) : shape;
    return {
        shape: sizes.map((size) => (typeof size === "number" ? size : Number(size.split("<=").at(-1)))),
        varies: sizes.some((size) => typeof size !== "number"),
    };
}

function weightOf(space) {
    const parts = space.kind === "Dict" ? Object.values(space.spaces) : [space];
    return parts.reduce((sum, part) => sum + (part.shape ?? []).reduce((product, size) => product * size, 1), 0);
}

function curl(model, content) {
    const url = new URL(addressOf(model, "predict"), document.baseURI);
    const text = JSON.stringify(content).replaceAll("'", "'\\''");
    return text.length > 2000 ? `The request has ${text.length.toLocaleString("en")} bytes.` : `curl ${url} \\\n  -d '${text}'`;
}
