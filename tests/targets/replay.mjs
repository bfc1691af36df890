// Asks policies what a list of jobs says, in Node.js, in a page and in its workers:
//
//     node replay.mjs FOLDER JOBS.json
//
// A job names a package of FOLDER, how it is loaded, and calls; JSON lacks NaN and infinity, which come as texts. What
// comes back is a list with the results of each job: values, or the error that was thrown.

const UNUSUAL = { "#NaN": NaN, "#Infinity": Infinity, "#-Infinity": -Infinity };
const TYPED = { Uint8Array, Int32Array, Float32Array, Float64Array };

/** The results of all jobs, of packages at a URL. */
export async function replay(jobs, folder) {
    const results = [];
    for (const job of revived(jobs)) {
        const { load } = await import(new URL(`${job.name}/${job.name}.mjs`, folder));
        const policy = await load({ simd: job.simd });
        results.push(job.calls.map((call) => answer(policy, call)));
    }
    return results;
}

/** Jobs as they were meant: {"#Float32Array": [...]} is a typed array. */
export function revived(value) {
    if (typeof value === "string") {
        return value in UNUSUAL ? UNUSUAL[value] : value;
    }
    if (typeof value !== "object" || value === null) {
        return value;
    }
    if (Array.isArray(value)) {
        return value.map(revived);
    }
    const [name] = Object.keys(value);
    if (name?.startsWith("#")) {
        return TYPED[name.slice(1)].from(revived(value[name]));
    }
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, revived(part)]));
}

/** What a policy says to one call, as JSON can hold it. */
function answer(policy, { call, observation, options }) {
    try {
        if (call === "episode") {
            return plain(played(policy, observation));
        }
        if (call === "each") {
            return plain(observation.map((one, row) => policy.act(one, options[row])));
        }
        return plain(policy[call](observation, options));
    } catch (error) {
        return { error: error.name, message: error.message };
    }
}

/** The actions of an episode, which begins anew in the middle, while another one sees the same backwards. */
function played(policy, observations) {
    const [episode, other] = [policy.episode(), policy.episode()];
    return observations.map((one, step) => {
        other.act(observations[observations.length - 1 - step]);
        if (2 * step === observations.length) {
            episode.reset();
        }
        return episode.act(one);
    });
}

function plain(value) {
    if (ArrayBuffer.isView(value)) {
        return Array.from(value);
    }
    if (Array.isArray(value)) {
        return value.map(plain);
    }
    if (typeof value === "object" && value !== null) {
        return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
    }
    return value;
}

if (globalThis.process?.argv[1]?.endsWith("replay.mjs")) {
    const { readFile } = await import("node:fs/promises");
    const { pathToFileURL } = await import("node:url");
    const [folder, jobs] = globalThis.process.argv.slice(2);
    const results = await replay(JSON.parse(await readFile(jobs, "utf8")), pathToFileURL(`${folder}/`));
    console.log(JSON.stringify(results));
}
