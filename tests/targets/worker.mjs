import { replay } from "./replay.mjs";

onmessage = async ({ data }) => postMessage(await replay(data, new URL("./", import.meta.url)));
