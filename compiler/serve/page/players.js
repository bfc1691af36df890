// Who plays: the policy itself in this browser, as WebAssembly, or the server.

import { addressOf, predict, request } from "./api.js";

/** How often the policy is measured, and for how many milliseconds. */
const [ROUNDS, LONG] = [6, 4];

/** A player that asks the server at every step. */
export function serverPlayer(model) {
    let state;
    const times = [];
    return {
        way: "through /predict",
        reset() {
            state = undefined;
        },
        async act(observation) {
            const { answer, milliseconds } = await predict(model, { observation, ...(state && { state }) });
            state = answer.state;
            times.push(milliseconds);
            times.splice(0, times.length - 50);
            return answer.action;
        },
        /** Microseconds for one action: the median of the last ones. */
        get microseconds() {
            return [...times].sort((a, b) => a - b)[times.length >> 1] * 1000;
        },
    };
}

/**
 * A player that computes here, by the WebAssembly build that the server has beside the model.
 *
 * Its module comes as text, and is imported from there: an import sends no token.
 */
export async function localPlayer(model, observation) {
    const at = (file) => addressOf(model, `wasm/${encodeURIComponent(file)}`);
    const source = await (await request(at(`${model.wasm}.mjs`))).text();
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { load } = await import(url).finally(() => URL.revokeObjectURL(url));
    const policy = await load(await compiled([`${model.wasm}.wasm`, `${model.wasm}.scalar.wasm`].map(at)));
    const episode = policy.episode?.();
    const act = (episode ?? policy).act;
    const microseconds = measured(() => act(observation));
    episode?.reset();
    return { way: "by WebAssembly in this browser", act, reset: () => episode?.reset(), microseconds };
}

/** The first module that this browser can compile: it may have no SIMD. */
async function compiled([url, ...others]) {
    try {
        return await WebAssembly.compile(await (await request(url)).arrayBuffer());
    } catch (error) {
        if (others.length && error instanceof WebAssembly.CompileError) {
            return compiled(others);
        }
        throw error;
    }
}

/** Microseconds of a call: the best of some rounds, each long enough for the coarse clock of a browser. */
function measured(call) {
    let best = Infinity;
    for (let round = 0; round < ROUNDS; round++) {
        let calls = 0;
        let spent = 0;
        const begin = performance.now();
        while (spent < LONG) {
            for (let number = 0; number < 20; number++) {
                call();
            }
            calls += 20;
            spent = performance.now() - begin;
        }
        best = Math.min(best, spent / calls);
    }
    return best * 1000;
}
