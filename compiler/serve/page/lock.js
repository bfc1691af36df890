// The dialog that asks for the token of the server.

import { onLocked } from "./api.js";

/** Lets requests that lack a token wait for the person at the page to type it. */
export function askForTokens() {
    let answer = null;
    onLocked((wrong) => {
        // Requests that come meanwhile wait for the same answer.
        answer ??= typed(wrong).finally(() => (answer = null));
        return answer;
    });
}

function typed(wrong) {
    const at = (id) => document.getElementById(id);
    const [dialog, field] = [at("locked"), at("token")];
    at("wrong").hidden = !wrong;
    field.value = "";
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.querySelector("form").onsubmit = (event) => {
            event.preventDefault();
            if (field.value.trim()) {
                dialog.close();
                resolve(field.value.trim());
            }
        };
        // Without a token there is nothing to see behind it.
        dialog.oncancel = (event) => event.preventDefault();
    });
}
