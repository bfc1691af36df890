// CartPole-v1 and Pendulum-v1, step by step as gymnasium computes them, with forces that nobody trained for.

/** Names of the values of CartPole's observation, and of its actions. */
const CARTPOLE = {
    title: "CartPole",
    fields: ["cart position", "cart velocity", "pole angle", "pole angular velocity"],
    actions: ["push left", "push right"],
    unit: "N",
    limits: [2.4, (12 * 2 * Math.PI) / 360],
    /** Seconds of a step. */
    seconds: 0.02,
    /** Steps after which gymnasium ends an episode. */
    steps: 500,
    disturbance: { wind: 5, gusts: 10, push: 16 },

    /** A state to begin with, of numbers in [0, 1). */
    begin: (random) => Array.from({ length: 4 }, () => random() * 0.1 - 0.05),

    /** The state after a step; `force` in newtons is added to the action's ten. */
    step([x, xDot, theta, thetaDot], action, force = 0) {
        const total = 1.1;
        const [gravity, pole, length] = [9.8, 0.1, 0.5];
        const poleLength = pole * length;
        const [cosine, sine] = [Math.cos(theta), Math.sin(theta)];
        const pushed = (action === 1 ? 10 : -10) + force;
        const shared = (pushed + poleLength * (thetaDot * thetaDot) * sine) / total;
        const turning =
            (gravity * sine - cosine * shared) / (length * (4 / 3 - (pole * (cosine * cosine)) / total));
        const moving = shared - (poleLength * turning * cosine) / total;
        const tau = 0.02;
        return [x + tau * xDot, xDot + tau * moving, theta + tau * thetaDot, thetaDot + tau * turning];
    },

    /** What the policy sees of a state. */
    observe: (state) => state.map(Math.fround),

    /** Whether the episode is over; null where it never is. */
    fell: ([x, , theta]) => Math.abs(x) > CARTPOLE.limits[0] || Math.abs(theta) > CARTPOLE.limits[1],

    /** What the trace shows, between -1 and 1. */
    traced: ([, , theta]) => theta / CARTPOLE.limits[1],
    tracing: "pole angle",

    /** What the page says of a state. */
    readings: ([x, , theta]) => [
        ["position", `${x.toFixed(2)} m`],
        ["angle", `${((theta * 180) / Math.PI).toFixed(1)}°`],
    ],
};

const PENDULUM = {
    title: "Pendulum",
    fields: ["cos(angle)", "sin(angle)", "angular velocity"],
    actions: ["torque"],
    unit: "N·m",
    seconds: 0.05,
    steps: 200,
    disturbance: { wind: 1, gusts: 2, push: 16 },

    begin: (random) => [(random() * 2 - 1) * Math.PI, random() * 2 - 1],

    /** The state after a step; `force` in newton metres, to the right at the top, is added to the action, clipped to 2. */
    step([theta, thetaDot], action, force = 0) {
        const [g, m, l, dt] = [10, 1, 1, 0.05];
        const torque = Math.min(Math.max(action[0], -2), 2) - force;
        const turning = thetaDot + (((3 * g) / (2 * l)) * Math.sin(theta) + (3 / (m * l ** 2)) * torque) * dt;
        const faster = Math.min(Math.max(turning, -8), 8);
        return [theta + faster * dt, faster];
    },

    observe: ([theta, thetaDot]) => [Math.cos(theta), Math.sin(theta), thetaDot].map(Math.fround),
    fell: null,
    traced: ([theta]) => upright(theta) / Math.PI,
    tracing: "angle from upright",
    readings: ([theta, thetaDot]) => [
        ["from upright", `${((upright(theta) * 180) / Math.PI).toFixed(1)}°`],
        ["velocity", `${thetaDot.toFixed(2)} rad/s`],
    ],
};

/** An angle between minus half a turn and half a turn. */
export function upright(theta) {
    const turn = 2 * Math.PI;
    return ((((theta + Math.PI) % turn) + turn) % turn) - Math.PI;
}

export const worlds = { CartPole: CARTPOLE, Pendulum: PENDULUM };

/** The world that a policy's spaces are those of, or null. */
export function worldOf({ spec, bounds }) {
    const { observation, action } = spec;
    if (observation?.kind !== "Box" || !observation.dtype.startsWith("float") || observation.shape.length !== 1) {
        return null;
    }
    const near = (place, expected) => {
        const high = Array.isArray(bounds?.high) ? bounds.high[place] : bounds?.high;
        // The bare weights of a policy don't tell them.
        return high === null || high === undefined || Math.abs(high - expected) < 1e-4;
    };
    if (observation.shape[0] === 4 && action.kind === "Discrete" && action.n === 2) {
        return near(0, 4.8) && near(2, 0.41887903) ? CARTPOLE : null;
    }
    const torque = action.kind === "Box" && sameAll(action.shape, [1]) && sameAll([action.low].flat(), [-2]);
    if (observation.shape[0] === 3 && torque && sameAll([action.high].flat(), [2])) {
        return near(0, 1) && near(1, 1) && near(2, 8) ? PENDULUM : null;
    }
    return null;
}

function sameAll(found, expected) {
    return found.length === expected.length && found.every((value, place) => value === expected[place]);
}
