// Elements of the page, made from data. Texts only ever become text: names come out of files of strangers.

/** An element with attributes and children; a function becomes a listener, `true` an attribute without a value. */
export function element(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function drawing(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") {
            made.addEventListener(name, value);
        } else if (value !== false && value !== undefined && value !== null) {
            made.setAttribute(name, value === true ? "" : value);
        }
    }
    made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return made;
}

let made = 0;

/** An id that nothing else has. */
export function freshId() {
    made += 1;
    return `part-${made}`;
}

/** A number as short as it can be read. */
export function shown(value, digits = 4) {
    if (typeof value === "boolean" || value === null) {
        return String(value);
    }
    if (Number.isInteger(value) || !Number.isFinite(value)) {
        return String(value);
    }
    const short = Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3;
    return short ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

/** A time as a person reads it, of microseconds. */
export function shownTime(microseconds) {
    if (microseconds < 1000) {
        return `${microseconds < 10 ? microseconds.toFixed(2) : microseconds.toFixed(0)} µs`;
    }
    const milliseconds = microseconds / 1000;
    return milliseconds < 1000 ? `${Number(milliseconds.toPrecision(3))} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}

/** A shape as text: `4`, `84 × 84 × 4`, or `one number`. */
export function shownShape(shape) {
    return shape.length ? shape.join(" × ") : "one number";
}

/** How many values a shape has. */
export function sizeOf(shape) {
    return shape.reduce((product, size) => product * size, 1);
}
