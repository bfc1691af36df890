// The page at `/`.

import { aboutShown, factsShown } from "./about.js";
import { animationOf } from "./animation.js";
import { models } from "./api.js";
import { askingOf } from "./asking.js";
import { element } from "./elements.js";
import { layersShown } from "./layers.js";
import { askForTokens } from "./lock.js";
import { worldOf } from "./worlds.js";

const at = (id) => document.getElementById(id);
let animation = null;

/** Shows a model in the place of the one before. */
function show(model) {
    const world = "observation" in model.spec ? worldOf(model) : null;
    const actions = world?.actions ?? choicesOf(model.spec.action);
    document.title = `${model.name} · policyc`;
    at("name").textContent = model.name;
    at("kind").textContent = `${model.spec.policy ?? "PyTorch program"} from ${model.spec.source.file}`;
    at("facts").replaceChildren(...factsShown(model));
    at("picture").replaceChildren(...layersShown(model).filter(Boolean));
    at("about").replaceChildren(...aboutShown(model));

    animation?.stop();
    animation = world && animationOf(model, world);
    at("live").hidden = !world;
    at("world").textContent = world ? world.title : "";
    at("played").replaceChildren(...(animation ? [animation.element] : []));

    const { form, answer } = askingOf(model, world?.fields ?? [], actions);
    at("ask").replaceChildren(form);
    at("answer").replaceChildren(answer);
}

/** Names of choices, of which there are several kinds: `1: 0` is the first one of the second kind. */
function choicesOf(action) {
    const sizes = action?.kind === "MultiDiscrete" ? action.nvec : [];
    return sizes.flatMap((size, kind) => Array.from({ length: size }, (_, choice) => `${kind}: ${choice}`));
}

/** Which model an address names: `#cartpole`. */
function chosen(all) {
    return all.find(({ name }) => `#${encodeURIComponent(name)}` === location.hash) ?? all[0];
}

async function start() {
    let all;
    askForTokens();
    try {
        all = await models();
    } catch (error) {
        at("failed").textContent = error.message;
        at("failed").hidden = false;
        return;
    }
    const select = at("models");
    select.replaceChildren(...all.map(({ name }) => element("option", { value: name }, name)));
    at("choice").hidden = all.length < 2;
    const change = () => {
        const model = chosen(all);
        select.value = model.name;
        show(model);
    };
    select.addEventListener("change", () => (location.hash = encodeURIComponent(select.value)));
    addEventListener("hashchange", change);
    change();
    at("content").hidden = false;
}

start();
