// Paints worlds on a canvas, in the colours of the page.

import { upright } from "./worlds.js";

/** Metres from the middle to the edges. */
const SHOWN = 2.9;

/** Paints a state: `push` is what pushes the world now, from -1 to 1, `action` what the policy does, likewise. */
export function paint(canvas, world, state, action, push) {
    const { context, width, height, colour } = prepared(canvas);
    const painter = { CartPole: paintCartPole, Pendulum: paintPendulum }[world.title];
    painter(context, width, height, state, action, colour);
    if (Math.abs(push) > 0.02) {
        arrow(context, width / 2, 30, push * 90, colour("--warn"), "disturbance");
    }
}

/** Paints what was traced, the last on the right, between -1 and 1. */
export function paintTrace(canvas, values, length) {
    const { context, width, height, colour } = prepared(canvas);
    const y = (value) => height / 2 - Math.min(Math.max(value, -1), 1) * (height / 2 - 3);
    context.strokeStyle = colour("--line");
    context.beginPath();
    context.moveTo(0, height / 2);
    context.lineTo(width, height / 2);
    context.stroke();
    context.strokeStyle = colour("--accent");
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    values.forEach((value, place) => context.lineTo(width - ((values.length - 1 - place) / length) * width, y(value)));
    context.stroke();
}

/** A canvas with as many pixels as the screen has for it. */
function prepared(canvas) {
    const ratio = globalThis.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    return { context, width, height, colour: (name) => style.getPropertyValue(name).trim() };
}

function paintCartPole(context, width, height, [x, , theta], action, colour) {
    const scale = width / (2 * SHOWN);
    const ground = height * 0.8;
    const middle = width / 2 + x * scale;
    context.strokeStyle = colour("--line");
    context.lineWidth = 2;
    line(context, 0, ground, width, ground);
    context.lineWidth = 1;
    for (let metre = -2; metre <= 2; metre++) {
        const at = width / 2 + metre * scale;
        line(context, at, ground, at, ground + 6);
        label(context, `${metre} m`, at, ground + 20, colour("--faint"));
    }
    context.strokeStyle = colour("--bad");
    context.setLineDash([4, 4]);
    for (const side of [-2.4, 2.4]) {
        line(context, width / 2 + side * scale, ground - 46, width / 2 + side * scale, ground);
    }
    context.setLineDash([]);

    const [w, h] = [Math.max(scale * 0.62, 44), Math.max(scale * 0.28, 22)];
    context.fillStyle = colour("--cart");
    rounded(context, middle - w / 2, ground - h - 6, w, h, 6);
    context.fillStyle = colour("--faint");
    for (const side of [-0.3, 0.3]) {
        disc(context, middle + side * w, ground - 6, 6);
    }
    const length = Math.min(scale, ground - h - 24);
    const top = ground - h - 6;
    context.strokeStyle = colour("--pole");
    context.lineWidth = 8;
    context.lineCap = "round";
    line(context, middle, top, middle + Math.sin(theta) * length, top - Math.cos(theta) * length);
    context.lineCap = "butt";
    context.fillStyle = colour("--accent");
    disc(context, middle, top, 5);
    arrow(context, middle + Math.sign(action) * (w / 2 + 6), ground - h / 2 - 6, action * 34, colour("--accent"));
}

function paintPendulum(context, width, height, [theta], action, colour) {
    const [x, y] = [width / 2, height / 2];
    const length = height * 0.4;
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    context.setLineDash([3, 5]);
    context.beginPath();
    context.arc(x, y, length, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash([]);
    context.strokeStyle = colour("--pole");
    context.lineWidth = 14;
    context.lineCap = "round";
    // Angles grow against the clock, from the top.
    line(context, x, y, x - Math.sin(theta) * length, y - Math.cos(theta) * length);
    context.lineCap = "butt";
    context.fillStyle = Math.abs(upright(theta)) < 0.15 ? colour("--good") : colour("--cart");
    disc(context, x - Math.sin(theta) * length, y - Math.cos(theta) * length, 12);
    context.fillStyle = colour("--accent");
    disc(context, x, y, 6);
    const turn = Math.min(Math.max(action, -1), 1) * Math.PI * 0.8;
    context.strokeStyle = colour("--accent");
    context.lineWidth = 4;
    context.beginPath();
    context.arc(x, y, 26, -Math.PI / 2, -Math.PI / 2 - turn, turn > 0);
    context.stroke();
}

function line(context, ...[x, y, toX, toY]) {
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(toX, toY);
    context.stroke();
}

function disc(context, x, y, radius) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
}

function rounded(context, x, y, width, height, radius) {
    context.beginPath();
    context.roundRect(x, y, width, height, radius);
    context.fill();
}

function arrow(context, x, y, length, colour, text) {
    const side = Math.sign(length);
    context.strokeStyle = colour;
    context.lineWidth = 3;
    context.lineCap = "round";
    line(context, x, y, x + length, y);
    line(context, x + length, y, x + length - side * 7, y - 6);
    line(context, x + length, y, x + length - side * 7, y + 6);
    context.lineCap = "butt";
    if (text) {
        label(context, text, x, y - 12, colour);
    }
}

function label(context, text, x, y, colour) {
    context.fillStyle = colour;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText(text, x, y);
}
