// What the page asks the server, with the token where one is needed.

const KEY = "policyc.token";

/** The server's answer to a request that it refuses; `message` is for the person at the page. */
export class Refusal extends Error {
    constructor(status, message, path = "") {
        super(message);
        this.status = status;
        this.path = path;
    }
}

let whenLocked = () => Promise.reject(new Refusal(401, "This server wants a token."));

/** Sets what is called where a token is missing or wrong: it asks the person, and resolves with what they typed. */
export function onLocked(ask) {
    whenLocked = ask;
}

/** Asks, and again with a new token where that is what is missing; resolves with a Response that is fine. */
export async function request(url, options = {}) {
    for (;;) {
        const token = sessionStorage.getItem(KEY);
        const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
        let response;
        try {
            response = await fetch(url, { ...options, headers });
        } catch {
            throw new Refusal(0, "The server can't be reached: is it still running?");
        }
        if (response.status === 401) {
            sessionStorage.setItem(KEY, await whenLocked(token !== null));
            continue;
        }
        if (!response.ok) {
            throw await refusalOf(response);
        }
        return response;
    }
}

async function refusalOf(response) {
    const content = await response.json().catch(() => ({}));
    const message = content.error ?? `The server answered ${response.status} ${response.statusText}.`;
    return new Refusal(response.status, message, content.path);
}

/** All models that are served, in the order of the command line. */
export async function models() {
    return (await (await request("models")).json()).models;
}

/** The address of what belongs to a model, relative to the page, so that a proxy may put it anywhere. */
export function addressOf(model, rest) {
    return `models/${encodeURIComponent(model.name)}/${rest}`;
}

/** Resolves with the model's answer and the milliseconds that it took to come. */
export async function predict(model, content) {
    const body = JSON.stringify(content);
    const begin = performance.now();
    const response = await request(addressOf(model, "predict"), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body,
    });
    const answer = await response.json();
    return { answer, milliseconds: performance.now() - begin };
}
