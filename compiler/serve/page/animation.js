// The live animation: a world that the policy plays, and what the person at the page does to it.

import { element, freshId, shownTime } from "./elements.js";
import { localPlayer, serverPlayer } from "./players.js";
import { paint, paintTrace } from "./stage.js";

/** Points of the trace. */
const TRACED = 300;
/** Steps that one picture may take: a slow player makes the world slower, not the page. */
const MOST_STEPS = 40;
/** Seconds of the world that a push takes, and that pass between a fall and the next episode. */
const [PUSH, PAUSE] = [0.1, 1];

/**
 * The animation's element, and `stop()`, after which it does nothing any more.
 *
 * It plays from the beginning where the policy computes in this browser and nobody asked for less motion; through the
 * server it waits for the button, as every step is a request.
 */
export function animationOf(model, world) {
    const canvas = element("canvas", {
        class: "stage",
        tabindex: "0",
        role: "img",
        "aria-label": `${world.title}, played by the policy. Arrow keys push, the space bar plays and pauses.`,
        keydown: onKey,
    });
    const trace = element("canvas", { class: "trace", role: "img", "aria-label": `${world.tracing}, over time` });
    const readings = element("dl", { class: "readings" });
    const told = element("p", { class: "told", role: "status" });
    const way = element("p", { class: "way", "data-way": "" });
    const failure = element("p", { class: "error", role: "alert", hidden: true });
    const wind = slider("Wind", -world.disturbance.wind, world.disturbance.wind, world.unit);
    const gusts = slider("Gusts", 0, world.disturbance.gusts, world.unit);
    const strength = slider("Strength of a push", 0, world.disturbance.push, world.unit, world.disturbance.push / 4);
    const speed = choice("Speed", { "¼ ×": 0.25, "1 ×": 1, "4 ×": 4, "16 ×": 16 }, "1 ×");
    const players = choice("Played", playersOf(model), "", () => changePlayer());
    const playing = element("button", { type: "button", class: "primary", click: () => turn(!running) });
    const quiet = matchMedia("(prefers-reduced-motion: reduce)");
    const scheme = matchMedia("(prefers-color-scheme: dark)");

    let player = null;
    let running = false;
    let stopped = false;
    let busy = false;
    let owed = 0;
    let last = 0;
    let state, action, steps, pushed, traced, over, falls;
    falls = 0;
    restart();
    turn(false);

    const observer = new ResizeObserver(() => draw());
    observer.observe(canvas);
    scheme.addEventListener("change", draw);
    changePlayer().then(() => {
        if (player?.local && !quiet.matches) {
            turn(true);
        }
    });

    /** Begins an episode. */
    function restart() {
        state = world.begin(Math.random);
        [action, steps, pushed, traced, over] = [0, 0, { push: 0, until: 0 }, [], 0];
        player?.reset();
        draw();
    }

    async function changePlayer() {
        player = null;
        failure.hidden = true;
        try {
            const chosen = await players.value()(model, world.observe(state));
            chosen.reset();
            player = chosen;
        } catch (error) {
            fail(error);
        }
        draw();
    }

    function turn(on) {
        running = on && !stopped;
        playing.textContent = running ? "Pause" : "Play";
        if (running) {
            failure.hidden = true;
            last = performance.now();
            requestAnimationFrame(frame);
        }
    }

    /** One picture: as many steps as time has passed for. */
    async function frame(now) {
        if (!running || stopped || !canvas.isConnected) {
            return;
        }
        owed = Math.min(owed + ((now - last) / 1000) * speed.value(), MOST_STEPS * world.seconds);
        last = now;
        while (running && owed >= world.seconds) {
            owed -= world.seconds;
            await step();
        }
        draw();
        requestAnimationFrame(frame);
    }

    async function step() {
        if (busy || player === null) {
            return;
        }
        if (over) {
            over += 1;
            if (over * world.seconds > PAUSE) {
                restart();
            }
            return;
        }
        busy = true;
        try {
            const given = await player.act(world.observe(state));
            action = typeof given === "number" ? given : Array.from(given);
            const gust = gusts.value() * (Math.random() + Math.random() + Math.random() - 1.5);
            const push = steps < pushed.until ? pushed.push * strength.value() : 0;
            state = world.step(state, action, wind.value() + gust + push);
            steps += 1;
            traced.push(world.traced(state));
            traced.splice(0, traced.length - TRACED);
            if (world.fell?.(state)) {
                falls += 1;
                over = 1;
                told.textContent = `It fell after ${(steps * world.seconds).toFixed(1)} s. The next try begins.`;
            } else if (steps === world.steps) {
                told.textContent = `${steps} steps: here gymnasium's ${world.title} ends. This one goes on.`;
            }
        } catch (error) {
            fail(error);
        } finally {
            busy = false;
        }
    }

    function push(direction) {
        pushed = { push: direction, until: steps + PUSH / world.seconds };
        told.textContent = `Pushed to the ${direction < 0 ? "left" : "right"}.`;
        draw();
    }

    function fail(error) {
        turn(false);
        failure.textContent = error.message;
        failure.hidden = false;
    }

    function onKey(event) {
        const keys = { ArrowLeft: () => push(-1), ArrowRight: () => push(1), " ": () => turn(!running) };
        if (event.key in keys && !event.ctrlKey && !event.metaKey && !event.altKey) {
            event.preventDefault();
            keys[event.key]();
        }
    }

    function draw() {
        if (!canvas.clientWidth || stopped) {
            return;
        }
        const shown = steps < pushed.until ? pushed.push : wind.value() / world.disturbance.wind;
        // An action as a fraction: of two choices the first is to the left, a torque has 2 for its most.
        const fraction = steps === 0 ? 0 : Array.isArray(action) ? action[0] / 2 : action * 2 - 1;
        paint(canvas, world, state, fraction, shown);
        paintTrace(trace, traced, TRACED);
        const seconds = (steps * world.seconds).toFixed(1);
        const fallen = world.fell ? [["falls", `${falls}`]] : [];
        const read = [["time", `${seconds} s`], ...world.readings(state), ...fallen];
        readings.replaceChildren(
            ...read.map(([name, value]) =>
                element("div", { "data-name": name }, element("dt", {}, name), element("dd", {}, value)),
            ),
        );
        way.textContent = player === null ? "Loading the policy …" : wayOf(player);
        way.dataset.way = player === null ? "" : player.local ? "wasm" : "predict";
    }

    const controls = element(
        "div",
        { class: "panel" },
        element(
            "div",
            { class: "buttons" },
            playing,
            element("button", { type: "button", click: () => step().then(draw) }, "Step"),
            element("button", { type: "button", click: restart }, "Restart"),
        ),
        element(
            "div",
            { class: "buttons" },
            element("button", { type: "button", click: () => push(-1) }, "← Push"),
            element("button", { type: "button", click: () => push(1) }, "Push →"),
        ),
        strength.element,
        wind.element,
        gusts.element,
        element("div", { class: "pair" }, speed.element, players.element),
    );
    const view = element("div", { class: "view" }, canvas, trace, readings, told, failure);
    return {
        element: element("div", { class: "animation" }, view, controls, way),
        stop() {
            stopped = true;
            running = false;
            observer.disconnect();
            scheme.removeEventListener("change", draw);
        },
    };
}

function playersOf(model) {
    const server = async (model) => serverPlayer(model);
    const local = async (model, observation) => ({ ...(await localPlayer(model, observation)), local: true });
    return model.wasm ? { "in this browser": local, "by the server": server } : { "by the server": server };
}

function wayOf({ way, microseconds }) {
    const time = Number.isFinite(microseconds) ? ` · ${shownTime(microseconds)} for one action` : "";
    return `Played ${way}${time}`;
}

function slider(label, low, high, unit, initial = 0) {
    const id = freshId();
    const output = element("output", { for: id });
    const step = (high - low) / 20;
    const input = element("input", { type: "range", id, min: low, max: high, step, value: initial, input: tell });
    function tell() {
        output.textContent = `${Number(Number(input.value).toPrecision(2))}${unit && ` ${unit}`}`;
        input.setAttribute("aria-valuetext", output.textContent);
    }
    tell();
    return {
        element: element("div", { class: "row disturbance" }, element("label", { for: id }, label), input, output),
        value: () => Number(input.value),
    };
}

function choice(label, values, initial, change = () => {}) {
    const id = freshId();
    const options = Object.keys(values).map((name) => element("option", { selected: name === initial }, name));
    const select = element("select", { id, change }, options);
    return {
        element: element("div", { class: "field" }, element("label", { for: id }, label), select),
        value: () => values[select.value],
    };
}
