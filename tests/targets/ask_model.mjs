// Asks a model for what jobs.json says: its module and each call as an expression of `model`; prints results as JSON.
import { readFile } from "node:fs/promises";

const [, , place, jobs, simd] = process.argv;
const { load, SPEC } = await import(place);
const model = await load({ simd: simd === "simd" });

/** What JSON has no words for, as texts. */
function plain(key, value) {
    if (ArrayBuffer.isView(value)) {
        return [value.constructor.name, ...Array.from(value, (x) => (Number.isFinite(x) ? x : String(x)))];
    }
    return value;
}

const results = [];
for (const text of JSON.parse(await readFile(jobs, "utf-8"))) {
    try {
        results.push(new Function("model", "SPEC", `return ${text};`)(model, SPEC));
    } catch (error) {
        results.push(`${error.constructor.name}: ${error.message}`);
    }
}
console.log(JSON.stringify(results, plain));
