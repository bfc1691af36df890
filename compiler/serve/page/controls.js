// Controls for what a model takes, made from its spaces. A control has an element, `value()`, which is the JSON of a
// request, `randomize()` and `reset()`; its element tells of changes by "input" events.

import { Refusal } from "./api.js";
import { element, freshId, shown, shownShape, sizeOf } from "./elements.js";
import { base64Of, imageControl, pictureOf } from "./images.js";

/** As many values have sliders; more are typed as JSON. */
const SLIDERS = 64;
/** As many values are written into a text area; more start as zeros that are not written down. */
const WRITTEN = 4096;
/** The reach of a slider whose value has no bounds, or such large ones that no one means them. */
const REACH = 5;
const BOUNDLESS = 1e6;
/** The typed arrays whose bytes stand for large arrays. */
const BYTES = {
    bool: Uint8Array,
    uint8: Uint8Array,
    int8: Int8Array,
    int16: Int16Array,
    int32: Int32Array,
    int64: BigInt64Array,
    float32: Float32Array,
    float64: Float64Array,
};

/** The control for a space of SPEC. `names` are those of its values, where they are known. */
export function controlOf(space, bounds, label, names = []) {
    switch (space.kind) {
        case "Dict":
            return groupOf(space, bounds);
        case "Discrete":
            return choiceControl(label, space.n, names);
        case "MultiDiscrete":
            return listOf(label, space.nvec.map((n, place) => choiceControl(names[place] ?? `${place}`, n)));
        case "MultiBinary":
            return arrayControl({ shape: space.shape, dtype: "bool" }, null, label, names);
        default:
            return arrayControl(space, bounds, label, names);
    }
}

/** The control for an array: sliders, check boxes, a picture, or JSON, as for one with lengths that vary. */
export function arrayControl(array, bounds, label, names = []) {
    const size = sizeOf(array.shape);
    if (array.dtype !== "bool" && !array.varies && pictureOf(array.shape)) {
        return imageControl(array, label);
    }
    if (size > SLIDERS || array.varies) {
        return textControl(array, label);
    }
    const controls = Array.from({ length: size }, (_, place) => {
        const name = names[place] ?? placeOf(place, array.shape);
        if (array.dtype === "bool") {
            return checkControl(name);
        }
        return sliderControl(name, array.dtype, boundAt(bounds?.low, place), boundAt(bounds?.high, place));
    });
    if (!array.shape.length) {
        return { ...controls[0], element: element("fieldset", {}, element("legend", {}, label), controls[0].element) };
    }
    const control = listOf(label, controls);
    control.element.classList.toggle("compact", array.dtype === "bool");
    return { ...control, value: () => nested(control.value(), array.shape) };
}

/** Check boxes for the choices that a policy may make. */
export function masksControl(count, names) {
    const controls = Array.from({ length: count }, (_, place) => checkControl(names[place] ?? `${place}`, true));
    const control = listOf("Allowed choices", controls);
    control.element.classList.add("compact");
    return { ...control, randomize() {} };
}

function groupOf(space, bounds) {
    const parts = Object.entries(space.spaces).map(([key, part]) => [key, controlOf(part, bounds?.[key], key)]);
    return {
        element: element("div", { class: "group" }, parts.map(([, part]) => part.element)),
        value: () => Object.fromEntries(parts.map(([key, part]) => [key, part.value()])),
        randomize: () => parts.forEach(([, part]) => part.randomize()),
        reset: () => parts.forEach(([, part]) => part.reset()),
    };
}

function listOf(label, controls) {
    return {
        element: element("fieldset", {}, element("legend", {}, label), controls.map((control) => control.element)),
        value: () => controls.map((control) => control.value()),
        randomize: () => controls.forEach((control) => control.randomize()),
        reset: () => controls.forEach((control) => control.reset()),
    };
}

function choiceControl(label, n, names = []) {
    const id = freshId();
    const options = Array.from({ length: n }, (_, value) =>
        element("option", { value }, names[value] ? `${value}: ${names[value]}` : `${value}`),
    );
    const select = element("select", { id }, options);
    return {
        element: element("div", { class: "row" }, element("label", { for: id }, label), select),
        value: () => Number(select.value),
        randomize: () => (select.value = `${Math.floor(Math.random() * n)}`),
        reset: () => (select.value = "0"),
    };
}

function checkControl(label, initially = false) {
    const box = element("input", { type: "checkbox", checked: initially });
    return {
        element: element("label", { class: "check" }, box, label),
        value: () => box.checked,
        randomize: () => (box.checked = Math.random() < 0.5),
        reset: () => (box.checked = initially),
    };
}

function sliderControl(label, dtype, low, high) {
    const whole = !dtype.startsWith("float");
    const bounded = (bound) => bound !== null && Math.abs(bound) < BOUNDLESS;
    // A large range of whole numbers is that of indices: what a table has is not known here.
    const [from, to] = [bounded(low) ? low : whole ? 0 : -REACH, bounded(high) ? high : whole ? 10 : REACH];
    const start = from <= 0 && to >= 0 ? 0 : from;
    const step = whole ? 1 : Number(((to - from) / 200).toPrecision(4));
    const id = freshId();
    const slider = element("input", { type: "range", min: from, max: to, step, value: start, "aria-labelledby": id });
    const box = element("input", { type: "number", step: whole ? 1 : "any", value: start, "aria-labelledby": id });
    slider.addEventListener("input", () => (box.value = shown(Number(slider.value))));
    box.addEventListener("input", () => follow());

    /** Puts the slider where the number is, further out than it went if need be. */
    function follow() {
        const value = box.valueAsNumber;
        if (Number.isFinite(value)) {
            slider.min = Math.min(from, value);
            slider.max = Math.max(to, value);
            slider.value = value;
        }
    }

    function set(value) {
        box.value = shown(value);
        follow();
    }

    return {
        element: element("div", { class: "row slider" }, element("span", { id }, label), slider, box),
        value() {
            if (!Number.isFinite(box.valueAsNumber)) {
                box.focus();
                throw new Refusal(0, `${label}: expected a number.`);
            }
            return box.valueAsNumber;
        },
        randomize() {
            const value = from + Math.random() * (to - from);
            set(whole ? Math.round(value) : value);
        },
        reset: () => set(start),
    };
}

/** Arrays as JSON. Large ones start as zeros that nobody wants to see. */
function textControl(array, label) {
    const size = sizeOf(array.shape);
    const id = freshId();
    const area = element("textarea", { id, rows: 6, spellcheck: "false" });
    const note = element("p", { class: "hint" });
    const whole = !array.dtype.startsWith("float");
    let values, kind;
    area.addEventListener("input", tell);
    put(new Float32Array(size), "zeros");

    function tell() {
        const said = `All ${size.toLocaleString("en")} values are ${kind}, unless you paste some.`;
        note.textContent = area.value.trim() ? "" : said;
    }

    function put(made, what) {
        [values, kind] = [made, what];
        const written = size <= WRITTEN;
        const plain = Array.from(made, (value) => (array.dtype === "bool" ? value > 0 : Number(value.toPrecision(4))));
        area.value = written ? JSON.stringify(nested(plain, array.shape)) : "";
        tell();
    }

    return {
        element: element(
            "fieldset",
            {},
            element("legend", {}, label),
            element("label", { for: id }, `JSON, ${array.varies ? "at most " : ""}${shownShape(array.shape)} ${array.dtype}`),
            area,
            note,
        ),
        value() {
            if (area.value.trim()) {
                try {
                    return JSON.parse(area.value);
                } catch (error) {
                    area.focus();
                    throw new Refusal(0, `${label}: expected JSON (${error.message}).`);
                }
            }
            const dtype = array.dtype in BYTES ? array.dtype : "float32";
            const given = BYTES[dtype].from(values, dtype === "int64" ? BigInt : undefined);
            return { base64: base64Of(given), shape: array.shape, dtype };
        },
        randomize() {
            const random = () => (whole ? Math.floor(Math.random() * 2) : Math.random() * 2 - 1);
            put(Float32Array.from({ length: size }, random), "random");
        },
        reset: () => put(new Float32Array(size), "zeros"),
    };
}

/** Where a value stands in its array: `3`, or `1, 2`. */
function placeOf(place, shape) {
    const at = [];
    for (const size of [...shape].reverse()) {
        at.unshift(place % size);
        place = Math.trunc(place / size);
    }
    return at.join(", ");
}

function nested(values, shape) {
    if (shape.length < 2) {
        return shape.length ? values : values[0];
    }
    const size = sizeOf(shape.slice(1));
    return Array.from({ length: shape[0] }, (_, row) => nested(values.slice(row * size, (row + 1) * size), shape.slice(1)));
}

function boundAt(bound, place) {
    return (Array.isArray(bound) ? bound[place] : bound) ?? null;
}
