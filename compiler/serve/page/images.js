// Pictures as the arrays that a model takes.

import { element, freshId, shownShape, sizeOf } from "./elements.js";

/** Which dimension holds the colours, and how large the picture is; null for a shape that is no picture's. */
export function pictureOf(shape) {
    if (shape.length !== 3) {
        return null;
    }
    const first = shape[0] < shape[2];
    const [height, width, channels] = first ? [shape[1], shape[2], shape[0]] : shape;
    return height > 4 && width > 4 && channels <= 16 ? { height, width, channels, first } : null;
}

/**
 * The values of a picture: bytes, by rows or by channels.
 *
 * pixels: red, green, blue and opacity of each.
 * picture: of `pictureOf`. Three channels (or six, ...) are colours; one, and any other number, are grey: a stack of
 *     frames shows the same one.
 */
export function valuesOf(pixels, { height, width, channels, first }) {
    const values = new Uint8Array(height * width * channels);
    const coloured = channels % 3 === 0;
    for (let pixel = 0; pixel < height * width; pixel++) {
        const [red, green, blue] = pixels.subarray(pixel * 4, pixel * 4 + 3);
        const grey = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
        for (let channel = 0; channel < channels; channel++) {
            const place = first ? channel * height * width + pixel : pixel * channels + channel;
            values[place] = coloured ? [red, green, blue][channel % 3] : grey;
        }
    }
    return values;
}

/** The bytes of a typed array as base64. */
export function base64Of(array) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = "";
    for (let place = 0; place < bytes.length; place += 0x8000) {
        text += String.fromCharCode(...bytes.subarray(place, place + 0x8000));
    }
    return btoa(text);
}

/**
 * A place to drop a picture on, or to choose one: it is fitted to the shape, and shown as the model sees it.
 *
 * Models that take bytes get 0 to 255, others 0 to 1.
 */
export function imageControl(array, label) {
    const picture = pictureOf(array.shape);
    const { height, width, channels } = picture;
    let values = new Uint8Array(sizeOf(array.shape));
    const seen = element("canvas", { width, height, class: "seen", role: "img", "aria-label": "what the model sees" });
    const note = element("p", { class: "hint", role: "status" }, "All black until you choose a picture.");
    const id = freshId();
    const input = element("input", { type: "file", accept: "image/*", id, change: () => take(input.files[0]) });
    const zone = element(
        "div",
        { class: "zone" },
        seen,
        element(
            "div",
            {},
            element("label", { for: id }, `${label}: drop a picture here, or choose one`),
            input,
            note,
            element("p", { class: "hint" }, `It becomes ${shownShape(array.shape)} ${array.dtype}.`),
        ),
    );
    const marked = (on) => (event) => {
        event.preventDefault();
        zone.classList.toggle("over", on);
    };
    zone.addEventListener("dragover", marked(true));
    zone.addEventListener("dragleave", marked(false));
    zone.addEventListener("drop", (event) => {
        marked(false)(event);
        take(event.dataTransfer.files[0]);
    });
    show();

    /** Fits a file to the model's size. */
    async function take(file) {
        if (!file) {
            return;
        }
        let bitmap;
        try {
            bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
        } catch {
            note.textContent = `${file.name} is no picture that this browser can read.`;
            return;
        }
        const canvas = new OffscreenCanvas(width, height);
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.imageSmoothingQuality = "high";
        context.drawImage(bitmap, 0, 0, width, height);
        values = valuesOf(context.getImageData(0, 0, width, height).data, picture);
        const stacked = channels % 3 && channels > 1 ? `, in grey in all ${channels} channels` : "";
        note.textContent = `${file.name}, ${bitmap.width} × ${bitmap.height}${stacked}.`;
        show();
        zone.dispatchEvent(new Event("input", { bubbles: true }));
    }

    /** Paints the values: the first channel, or the first three. */
    function show() {
        const pixels = new ImageData(width, height);
        const step = picture.first ? height * width : 1;
        for (let pixel = 0; pixel < height * width; pixel++) {
            const place = picture.first ? pixel : pixel * channels;
            const colours = [0, 1, 2].map((colour) => values[place + (channels % 3 ? 0 : colour * step)]);
            pixels.data.set([...colours, 255], pixel * 4);
        }
        seen.getContext("2d").putImageData(pixels, 0, 0);
    }

    return {
        element: zone,
        value() {
            const given = array.dtype === "uint8" ? values : Float32Array.from(values, (value) => value / 255);
            const dtype = array.dtype === "uint8" ? "uint8" : "float32";
            return { base64: base64Of(given), shape: array.shape, dtype };
        },
        randomize() {
            values = crypto.getRandomValues(new Uint8Array(Math.min(values.length, 65536)));
            const all = new Uint8Array(sizeOf(array.shape));
            for (let place = 0; place < all.length; place++) {
                all[place] = values[place % values.length];
            }
            values = all;
            note.textContent = "Noise.";
            show();
        },
        reset() {
            values = new Uint8Array(sizeOf(array.shape));
            note.textContent = "All black until you choose a picture.";
            show();
        },
    };
}
