// Shared by the scripts of the pages: weights, dense layers, and a skeleton that is rotated and dragged.
"use strict";

// Weights: rows of 16-bit integers, each row with its own unit.
const unpack = (base64) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const integers = new Int16Array(bytes.buffer);
  return ({ at, row, units }) => {
    const values = new Float32Array(units.length * row);
    for (let i = 0; i < values.length; i++) values[i] = integers[at + i] * units[Math.floor(i / row)];
    return values;
  };
};

const relu = (values) => values.map((v) => (v > 0 ? v : 0));

// A layer {weights, bias}, of which `values` are the unpacked weights: one row for each output.
const dense = ({ values, bias }, input) =>
  bias.map((b, i) => {
    let sum = b;
    for (let j = 0; j < input.length; j++) sum += input[j] * values[i * input.length + j];
    return sum;
  });

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

const STAGE = 320, UNIT = STAGE / 4.6; // pixels of the canvas, and of one bone scale
const GRASP = 18; // radius in pixels around a joint within which it is grasped
const FINGERS = ["thumb", "index finger", "middle finger", "ring finger", "little finger"];
const JOINTS = ["knuckle", "first joint", "second joint", "tip"];

const pointsOf = (pose) => Array.from({ length: pose.length / 3 }, (_, j) => Array.from(pose.slice(3 * j, 3 * j + 3)));
const add = (a, b, by = 1) => a.map((x, i) => x + by * b[i]);
const norm = (a) => Math.hypot(...a);

const middleOf = (pose) =>
  [0, 1, 2].map((axis) => {
    const along = pose.filter((_, i) => i % 3 === axis);
    return (Math.min(...along) + Math.max(...along)) / 2;
  });

// Rotation about the vertical, then the horizontal axis; and its inverse.
const turned = ([x, y, z], [yaw, pitch]) => {
  const across = x * Math.cos(yaw) + z * Math.sin(yaw), away = z * Math.cos(yaw) - x * Math.sin(yaw);
  return [across, y * Math.cos(pitch) - away * Math.sin(pitch), away * Math.cos(pitch) + y * Math.sin(pitch)];
};
const turnedBack = ([x, y, z], [yaw, pitch]) => {
  const down = y * Math.cos(pitch) + z * Math.sin(pitch), away = z * Math.cos(pitch) - y * Math.sin(pitch);
  return [x * Math.cos(yaw) - away * Math.sin(yaw), down, away * Math.cos(yaw) + x * Math.sin(yaw)];
};

// The joints on the canvas: pixel coordinates, and depth.
const seen = (pose, view, middle = middleOf(pose)) =>
  pointsOf(pose).map((point) => {
    const [x, y, z] = turned(add(point, middle, -1), view);
    return [STAGE / 2 + UNIT * x, STAGE / 2 + UNIT * y, z];
  });

// Near bones are drawn over far ones, and thicker.
const drawSkeleton = (canvas, pose, { bones, colours }, view = [0, 0], { thickness = 1, middle, handles, faint = [] } = {}) => {
  const context = canvas.getContext("2d");
  if (canvas.width !== STAGE) canvas.width = canvas.height = STAGE;
  context.globalAlpha = 1;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, STAGE, STAGE);
  context.lineCap = "round";
  middle ??= middleOf(pose);
  const line = (from, to, strokeStyle, lineWidth) => {
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    Object.assign(context, { strokeStyle, lineWidth }).stroke();
  };
  context.globalAlpha = 0.18;
  for (const other of faint) {
    const joints = seen(other, view, middle);
    bones.forEach(([a, b], i) => line(joints[a].slice(0, 2), joints[b].slice(0, 2), colours[i], 2));
  }
  context.globalAlpha = 1;
  const joints = seen(pose, view, middle);
  const depth = ([a, b]) => (joints[a][2] + joints[b][2]) / 2;
  const order = bones.map((_, i) => i).sort((i, j) => depth(bones[j]) - depth(bones[i]));
  const nearest = depth(bones[order[order.length - 1]]), spread = depth(bones[order[0]]) - nearest || 1;
  for (const i of order) {
    const width = thickness * (4 + 5 * (1 - (depth(bones[i]) - nearest) / spread));
    const [from, to] = bones[i].map((joint) => joints[joint].slice(0, 2));
    line(from, to, "#fff", 1.6 * width);
    line(from, to, colours[i], width);
  }
  if (!handles) return;
  seen(handles.pose, view, middle).forEach(([x, y], joint) => {
    if (joint === 0) return;
    context.beginPath();
    context.arc(x, y, joint === handles.chosen ? 7 : 4, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: "#fff", strokeStyle: "#333", lineWidth: joint === handles.chosen ? 3 : 1.5 });
    context.fill();
    context.stroke();
  });
};

// A pose with a joint moved to a target. The bones of a finger keep their lengths (FABRIK: Aristidou & Lasenby, 2011),
// and the joints beyond rotate with the joint's bone; a knuckle rotates the whole hand about the palm.
const pulled = (pose, joint, goal) => {
  const points = pointsOf(pose), finger = Math.floor((joint - 1) / 4), along = (joint - 1) % 4, first = 4 * finger + 1;
  if (along === 0) {
    return points.flatMap((point) => rotated(point, points[joint], goal));
  }
  const chain = points.slice(first, joint + 1), lengths = chain.slice(1).map((p, i) => norm(add(p, chain[i], -1)));
  const towards = (from, to, length) => {
    const way = add(to, from, -1);
    return add(from, way, length / (norm(way) || 1));
  };
  for (let pass = 0; pass < 12; pass++) {
    chain[along] = goal;
    for (let i = along - 1; i >= 0; i--) chain[i] = towards(chain[i + 1], chain[i], lengths[i]);
    chain[0] = points[first];
    for (let i = 1; i <= along; i++) chain[i] = towards(chain[i - 1], chain[i], lengths[i - 1]);
  }
  const before = add(points[joint], points[joint - 1], -1), after = add(chain[along], chain[along - 1], -1);
  for (let j = joint + 1; j < first + 4; j++) {
    points[j] = add(chain[along], rotated(add(points[j], points[joint], -1), before, after));
  }
  chain.forEach((point, i) => (points[first + i] = point));
  return points.flat();
};

// A point rotated by the rotation that maps one direction to another (Rodrigues).
const rotated = (point, from, to) => {
  const a = from.map((x) => x / norm(from)), b = to.map((x) => x / norm(to));
  const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  const axis = cross(a, b), cosine = dot(a, b);
  if (cosine < -0.9999) return point;
  const once = cross(axis, point);
  return add(add(point, once), cross(axis, once), 1 / (1 + cosine));
};

// Adds controls to a canvas that rotate a skeleton (drag beside it, arrow keys) and move its joints (drag them, or
// select one and use Shift and the arrow keys). `pose()` returns the current skeleton, and `pull(pose)` receives the
// changed one. Returns {view, middle, chosen, chooser}: the state of the view, and an element to select a joint.
const handled = (canvas, { pose, pull, redraw }) => {
  const state = { view: [0, 0], middle: null, chosen: 8 };
  const turn = (yaw, pitch) => {
    state.view[0] += yaw;
    state.view[1] = Math.max(-1.5, Math.min(1.5, state.view[1] + pitch));
    redraw();
  };
  const on = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * (STAGE / box.width), (event.clientY - box.top) * (STAGE / box.height)];
  };
  const under = (event) => {
    const [x, y] = on(event);
    const away = seen(pose(), state.view).map(([u, v], joint) => (joint ? Math.hypot(u - x, v - y) : Infinity));
    const nearest = away.indexOf(Math.min(...away));
    return pull && away[nearest] < GRASP ? nearest : null;
  };
  const moveTo = (joint, [x, y]) => {
    const depth = seen(pose(), state.view, state.middle ?? undefined)[joint][2];
    const goal = turnedBack([(x - STAGE / 2) / UNIT, (y - STAGE / 2) / UNIT, depth], state.view);
    pull(pulled(pose(), joint, add(goal, state.middle ?? middleOf(pose()))));
  };
  canvas.tabIndex = 0;
  canvas.classList.add("turnable");
  let at = null, held = null;
  // A touch on a joint moves the joint and does not scroll the page.
  canvas.addEventListener("touchstart", (event) => under(event.touches[0]) && event.preventDefault(), { passive: false });
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    held = under(event);
    at = event;
    if (held) {
      state.middle = middleOf(pose());
      chooser.value = state.chosen = held;
      redraw();
    }
  };
  canvas.onpointermove = (event) => {
    canvas.classList.toggle("over", !at && under(event) !== null);
    if (!at) return;
    if (held) moveTo(held, on(event));
    else turn((event.clientX - at.clientX) / 80, (event.clientY - at.clientY) / 80);
    at = event;
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    at = held = state.middle = null;
    redraw();
  };
  canvas.onkeydown = (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!by) return;
    event.preventDefault();
    if (event.shiftKey && pull) {
      const [x, y] = seen(pose(), state.view)[state.chosen];
      moveTo(state.chosen, [x + 6 * by[0], y + 6 * by[1]]);
    } else turn(0.15 * by[0], 0.15 * by[1]);
  };
  const names = FINGERS.flatMap((finger) => JOINTS.map((joint) => `${finger}, ${joint}`));
  const chooser = element("select", {}, ...names.map((name, i) => element("option", { value: i + 1, textContent: name })));
  chooser.setAttribute("aria-label", "The joint that Shift and the arrow keys move");
  chooser.value = state.chosen;
  chooser.onchange = () => {
    state.chosen = Number(chooser.value);
    redraw();
  };
  return Object.assign(state, { chooser });
};
