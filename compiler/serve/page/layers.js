// The layers of a model as a picture: vectors as columns of dots, images as plates, in the order of computing.

import { drawing, element, shownShape, sizeOf } from "./elements.js";

const STEP = 116;
const MIDDLE = 118;
const DOTS = 9;
const GAP = 17;
/** As many layers are drawn; those of larger models stand in the table. */
const DRAWN = 120;

/** The picture, in a frame that scrolls where it is too wide, and the same as a table. */
export function layersShown(model) {
    const layers = model.layers ?? [];
    if (!layers.length) {
        return [element("p", { class: "hint" }, "This package tells nothing about its layers: build it again.")];
    }
    const parameters = layers.reduce((sum, layer) => sum + layer.parameters, 0);
    const caption = `${layers.length} layers, ${parameters.toLocaleString("en")} parameters`;
    return [
        element("p", { class: "hint" }, `${caption}.`),
        element(
            "div",
            { class: "scroller", tabindex: "0", role: "region", "aria-label": "picture of the layers" },
            picture(layers.slice(0, DRAWN), caption),
        ),
        layers.length > DRAWN ? element("p", { class: "hint" }, `The first ${DRAWN} are drawn.`) : null,
        element("details", {}, element("summary", {}, "The layers as a table"), table(layers)),
    ];
}

function picture(layers, caption) {
    // An input stands first, with the shape that the first layer takes.
    const columns = [{ op: "input", name: "", outputs: layers[0].inputs, reads: [], parameters: 0 }, ...layers];
    const width = columns.length * STEP;
    const sources = columns.map((_, place) => {
        const reads = place ? layers[place - 1].reads.map((read) => read + 1) : [];
        return place && !reads.length ? [0] : reads;
    });
    const lines = columns.flatMap((column, place) => sources[place].map((from) => connection(columns, from, place)));
    const glyphs = columns.map((column, place) => glyph(column, place * STEP + STEP / 2));
    const size = { width, height: 292, viewBox: `0 0 ${width} 292` };
    return drawing("svg", { ...size, class: "layers", role: "img", "aria-label": caption }, lines, glyphs);
}

function connection(columns, from, to) {
    const [x, y] = [from * STEP + STEP / 2, to * STEP + STEP / 2];
    if (to - from > 1) {
        // What skips layers goes around them.
        const height = Math.min(18 + 9 * (to - from), 88);
        const path = `M${x} ${MIDDLE - 86} C${x} ${MIDDLE - 86 - height / 3} ${y} ${MIDDLE - 86 - height / 3} ${y} ${MIDDLE - 86}`;
        return [drawing("path", { d: path, class: "around" })];
    }
    const [before, after] = [dotsOf(columns[from].outputs), dotsOf(columns[to].outputs)];
    const everyToEvery = before && after && columns[to].op.startsWith("dense");
    if (!everyToEvery) {
        const arrow = `M${x + 30} ${MIDDLE} H${y - 32} m-5 -4 l5 4 l-5 4`;
        return [drawing("path", { d: arrow, class: "arrow" })];
    }
    const path = before.flatMap((one) => after.map((other) => `M${x} ${one}L${y} ${other}`)).join("");
    return [drawing("path", { d: path, class: "edges" })];
}

/** The heights of a vector's dots; null for images. */
function dotsOf(shape) {
    if (shape.length > 1 && Math.max(...shape) !== sizeOf(shape)) {
        return null;
    }
    const count = Math.min(sizeOf(shape), DOTS);
    return Array.from({ length: count }, (_, dot) => MIDDLE + (dot - (count - 1) / 2) * GAP);
}

function glyph(column, x) {
    const dots = dotsOf(column.outputs);
    const shapes = dots ? dotted(column, x, dots) : plates(column.outputs, x);
    const [op, activation] = column.op.split(" + ");
    const lines = [
        [op.replaceAll("_", " "), "op"],
        [activation ? `+ ${activation}` : "", "activation"],
        [column.outputs.length ? shownShape(column.outputs) : "1", "shape"],
        [column.parameters ? `${short(column.parameters)} params` : "", "parameters"],
    ];
    const texts = lines.map(([text, kind], line) =>
        drawing("text", { x, y: 224 + line * 17, class: kind }, text.length > 18 ? `${text.slice(0, 17)}…` : text),
    );
    return drawing("g", { class: column.op === "input" ? "column input" : "column" }, title(column), shapes, texts);
}

function title(column) {
    return drawing("title", {}, `${column.name || "input"}: ${column.op}, ${shownShape(column.outputs)}`);
}

function dotted(column, x, dots) {
    const hidden = sizeOf(column.outputs) > DOTS;
    return dots.map((y, place) => {
        const omitted = hidden && place === (DOTS - 1) / 2;
        return omitted
            ? drawing("text", { x, y: y + 4, class: "omitted" }, "⋮")
            : drawing("circle", { cx: x, cy: y, r: 5.5 });
    });
}

/** Plates one behind the other: how wide and high an image is, and how many channels, all on a scale of logarithms. */
function plates(shape, x) {
    const [height, width, channels] =
        shape.length === 3 && shape[0] < shape[2] ? [shape[1], shape[2], shape[0]] : [shape[0], shape[1], shape[2] ?? 1];
    const [w, h] = [width, height].map((size) => 8 + 9 * Math.log2(1 + size) * 0.6);
    const count = Math.min(1 + Math.ceil(Math.log2(channels || 1)), 7);
    return Array.from({ length: count }, (_, place) => {
        const shift = (place - (count - 1) / 2) * 5;
        return drawing("rect", { x: x - w / 2 + shift, y: MIDDLE - h / 2 + shift, width: w, height: h, rx: 2 });
    });
}

function short(count) {
    if (count < 1e4) {
        return count.toLocaleString("en");
    }
    const [size, unit] = count < 1e6 ? [1e3, "k"] : [1e6, "M"];
    return `${Number((count / size).toPrecision(3)).toLocaleString("en")} ${unit}`;
}

function table(layers) {
    const head = ["", "layer", "computes", "takes", "gives", "parameters"];
    const rows = layers.map((layer, number) =>
        element(
            "tr",
            {},
            [number, layer.name, layer.op, shownShape(layer.inputs), shownShape(layer.outputs), layer.parameters || ""].map(
                (cell) => element("td", {}, cell.toLocaleString("en")),
            ),
        ),
    );
    return element(
        "div",
        { class: "scroller", tabindex: "0", role: "region", "aria-label": "table of the layers" },
        element(
            "table",
            {},
            element("thead", {}, element("tr", {}, head.map((cell) => element("th", { scope: "col" }, cell)))),
            element("tbody", {}, rows),
        ),
    );
}
