// What a model is: where it comes from, what goes in and out, and how it was verified.

import { element, shown } from "./elements.js";

/** The facts that matter most, in a line. */
export function factsShown(model) {
    const { spec, layers } = model;
    const parameters = (layers ?? []).reduce((sum, layer) => sum + layer.parameters, 0);
    const facts = [
        ["takes", spec.observation ? spaceText(spec.observation) : arraysText(spec.inputs)],
        ["gives", spec.action ? spaceText(spec.action) : arraysText(spec.outputs)],
        ["parameters", parameters ? parameters.toLocaleString("en") : "unknown"],
        ["verified", ...(model.verification ? [verified(model.verification), "good"] : ["not recorded"])],
    ];
    return facts.map(([name, value, kind = ""]) =>
        element("div", { class: `fact ${kind}` }, element("dt", {}, name), element("dd", {}, value)),
    );
}

/** Everything else, as a list of names and values. */
export function aboutShown(model) {
    const { spec, verification, versions = {}, options = {} } = model;
    const scores = spec.scores && `${spec.scores.name}, ${spec.scores.count}`;
    const rows = [
        ["Kind", spec.policy ?? "PyTorch program"],
        ["Source", `${spec.source.file} (${spec.source.format})`],
        ["SHA-256 of the source", element("code", {}, spec.source.sha256)],
        ["SHA-256 of the model", element("code", {}, model.sha256)],
        ["Chosen from", scores],
        ["State", spec.state && `LSTM, ${spec.state.layers} layers of ${spec.state.units}`],
        ["Drawn from", spec.sampling?.replaceAll("_", " ")],
        ["VecNormalize", spec.vecnormalize && element("code", {}, spec.vecnormalize)],
        ["Verification", verification && verifiedAtLength(verification, spec)],
        ["Assumed", spec.assumed?.length ? spec.assumed.join(" ") : null],
        ["Built by", Object.entries(versions).map((each) => each.join(" ")).join(", ")],
        ["Options", Object.entries(options).map(([name, value]) => `${name}: ${value}`).join(", ")],
    ];
    return rows
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

function verified({ observations }) {
    return `${observations.toLocaleString("en")} observations`;
}

function verifiedAtLength({ observations, action_error_below: actions, score_error_below: scores }, spec) {
    const within = spec.observation
        ? `actions are the same, continuous ones to ${shown(actions)} of their range, scores to ${shown(scores)} of the largest`
        : `all outputs are the same to ${shown(scores)} of the largest`;
    return `${observations.toLocaleString("en")} observations compared with the source model, each alone and in batches: ${within}.`;
}

function spaceText(space) {
    switch (space.kind) {
        case "Dict":
            return `Dict of ${Object.keys(space.spaces).join(", ")}`;
        case "Discrete":
            return `1 of ${space.n} choices`;
        case "MultiDiscrete":
            return `choices of ${space.nvec.join(", ")}`;
        case "MultiBinary":
            return `${space.n} bits`;
        default:
            return `${space.dtype} [${space.shape.join(" × ")}]${within(space)}`;
    }
}

function within({ low, high }) {
    const [least, most] = [[low].flat(), [high].flat()];
    const same = (bounds) => bounds.length && bounds.every((bound) => typeof bound === "number" && bound === bounds[0]);
    return same(least) && same(most) ? ` in ${shown(least[0])} … ${shown(most[0])}` : "";
}

function arraysText(arrays) {
    return arrays.map(({ name, shape }) => `${name} (${shape.join(", ")})`).join(", ");
}
