/*
 * Measures a policy in WebAssembly, its module with SIMD and the one without in turns.
 *
 * node wasm.mjs MODULE.mjs JOB.json: the job is {observations, rounds, seconds}; prints {actions, rounds}, each by
 * module; rounds in seconds per call of act.
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , modulePath, jobPath] = process.argv;
const job = JSON.parse(readFileSync(jobPath, "utf-8"));
const observations = job.observations.map((values) => new Float32Array(values));
const { load } = await import(pathToFileURL(modulePath));
const policies = { simd: await load({ simd: true }), scalar: await load({ simd: false }) };

/** Processor time of this process, in seconds. */
function clock() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
}

function run(policy, laps) {
    let sum = 0;
    for (let lap = 0; lap < laps; lap++) {
        for (const observation of observations) {
            sum += policy.act(observation);
        }
    }
    return sum;
}

/** How often a turn goes through all observations. */
function lapsOf(policy) {
    for (let laps = 1; ; laps *= 2) {
        const start = clock();
        run(policy, laps);
        const elapsed = clock() - start;
        if (elapsed >= job.seconds / 4) {
            return Math.max(1, Math.round((laps * job.seconds) / elapsed));
        }
    }
}

const names = Object.keys(policies);
const actions = Object.fromEntries(names.map((name) => [name, observations.map((values) => policies[name].act(values))]));
const laps = Object.fromEntries(names.map((name) => [name, lapsOf(policies[name])]));
const rounds = Object.fromEntries(names.map((name) => [name, []]));
let sum = 0;
for (let round = 0; round < job.rounds; round++) {
    for (const name of names) {
        sum += run(policies[name], Math.max(1, Math.floor(laps[name] / 10)));
        const start = clock();
        sum += run(policies[name], laps[name]);
        rounds[name].push((clock() - start) / (laps[name] * observations.length));
    }
}
console.log(JSON.stringify({ actions, rounds, sum }));
