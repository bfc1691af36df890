// Who plays: the policy itself in this browser, as WebAssembly, or the server.

import { addressOf, predict, request } from "./api.js";

/** How long the policy is measured. */
const MEASURED = 20;

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

/** Microseconds of a call; the clock of a browser is coarse. */
function measured(call) {
    let calls = 0;
    const begin = performance.now();
    let spent = 0;
    while (spent < MEASURED) {
        for (let number = 0; number < 100; number++) {
            call();
        }
        calls += 100;
        spent = performance.now() - begin;
    }
    return (spent * 1000) / calls;
}
