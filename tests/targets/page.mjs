// What a page does: the jobs, in itself and in a worker, and loading in every way that there is.

import { replay } from "./replay.mjs";

const folder = new URL("./", import.meta.url);

/** Loads a module in every way, and asks each policy the same. */
async function ways(name, observation) {
    const { load } = await import(`./${name}/${name}.mjs`);
    const file = new URL(`./${name}/${name}.wasm`, folder);
    const sources = {
        beside: undefined,
        url: file,
        text: file.href,
        relative: `./${name}.wasm`,
        response: await fetch(file),
        promise: fetch(file),
        bytes: await (await fetch(file)).arrayBuffer(),
        module: await WebAssembly.compileStreaming(fetch(file)),
        "of no known type": new URL(`./untyped/${name}/${name}.wasm`, folder),
    };
    const found = {};
    for (const [way, source] of Object.entries(sources)) {
        found[way] = Array.from((await load(source)).scores(observation));
    }
    for (const [way, source] of Object.entries({ missing: "./absent.wasm", number: 7, page: "../page.html" })) {
        found[way] = await load(source).then(() => "loaded", (error) => `${error.name}: ${error.message}`);
    }
    return found;
}

/** The same jobs in a worker. */
function inWorker(jobs) {
    return new Promise((resolve, reject) => {
        const worker = new Worker("./worker.mjs", { type: "module" });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => reject(new Error(event.message));
        worker.postMessage(jobs);
    });
}

/** All that is asked for. */
async function results() {
    const { jobs, name, observation } = await (await fetch("./jobs.json")).json();
    return { page: await replay(jobs, folder), worker: await inWorker(jobs), ways: await ways(name, observation) };
}

const found = await results().catch((error) => ({ failed: `${error.name}: ${error.message}` }));
await fetch("./results", { method: "POST", body: JSON.stringify(found) });
