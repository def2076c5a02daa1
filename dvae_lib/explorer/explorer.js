// Runs a dVAE's decoders in the page, and lets the reader move through its latent. The Python beside it exports what
// they are made of; nothing is fetched.
"use strict";

(() => {
  const STRIDE = 2, KERNEL = 5, PADDING = 2; // of every transposed convolution (supplement, Table 1)
  const SHOWN = 4; // sliders a part
  const REACH = 2.5; // standard deviations a slider goes either way
  const GLIDE = 450; // milliseconds from one sample to another

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

  // origin + coordinates · rows
  const affine = (weights, row, coordinates) => {
    const out = weights.slice(0, row);
    coordinates.forEach((c, k) => {
      if (c === 0) return;
      for (let i = 0, from = (k + 1) * row; i < row; i++) out[i] += c * weights[from + i];
    });
    return out;
  };

  // A transposed convolution of S × S pixels, channels last. What a pixel adds to a row of the output lies in one piece
  // there and in the weights, and after a ReLU about half the inputs are zero.
  const upsample = (input, size, weights, bias) => {
    const ins = input.length / (size * size), outs = bias.length, wide = STRIDE * size;
    const out = new Float32Array(wide * wide * outs);
    for (let i = 0; i < out.length; i++) out[i] = bias[i % outs];
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const left = STRIDE * x - PADDING, first = Math.max(0, -left), last = Math.min(KERNEL, wide - left);
        for (let c = 0; c < ins; c++) {
          const value = input[(y * size + x) * ins + c];
          if (value === 0) continue;
          for (let k = 0; k < KERNEL; k++) {
            const row = STRIDE * y - PADDING + k;
            if (row < 0 || row >= wide) continue;
            const from = ((c * KERNEL + k) * KERNEL + first) * outs, to = (row * wide + left + first) * outs;
            for (let i = 0, n = (last - first) * outs; i < n; i++) out[to + i] += value * weights[from + i];
          }
        }
      }
    }
    return out;
  };

  const relu = (values) => values.map((v) => (v > 0 ? v : 0));

  class Decoder {
    constructor(data) {
      this.data = data;
      const weights = unpack(data.weights);
      for (const part of [data.image, data.pose]) if (part) part.values = weights(part.start);
      if (data.image) for (const layer of data.image.layers) layer.values = weights(layer.weights);
      if (data.pose) data.pose.last.values = weights(data.pose.last.weights);
    }

    // (size, size, 3) in [−1, 1]
    image(coordinates) {
      const { start, values, layers } = this.data.image;
      let pixels = start.pixels, map = affine(values, start.row, coordinates);
      for (const layer of layers) {
        map = upsample(relu(map), pixels, layer.values, layer.bias);
        pixels *= STRIDE;
      }
      return map.map(Math.tanh);
    }

    // (21, 3) in bone scales
    pose(coordinates) {
      const { start, values, last } = this.data.pose;
      const hidden = relu(affine(values, start.row, coordinates));
      return last.bias.map((b, i) => {
        let sum = b;
        for (let j = 0; j < hidden.length; j++) sum += hidden[j] * last.values[i * hidden.length + j];
        return sum;
      });
    }
  }

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  const drawImage = (canvas, values, size) => {
    canvas.width = canvas.height = size;
    const pixels = new ImageData(size, size);
    for (let i = 0; i < size * size; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(127.5 * (values[3 * i + c] + 1));
      pixels.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  };

  // Near bones over far ones, and thicker. Turned about the vertical, then the horizontal axis.
  const drawSkeleton = (canvas, pose, { bones, colours }, [yaw, pitch] = [0, 0], thickness = 1) => {
    const size = 320, unit = size / 4.6, context = canvas.getContext("2d");
    canvas.width = canvas.height = size;
    const middle = [0, 1, 2].map((axis) => {
      const along = pose.filter((_, i) => i % 3 === axis);
      return (Math.min(...along) + Math.max(...along)) / 2;
    });
    const joints = Array.from({ length: pose.length / 3 }, (_, j) => {
      const [x, y, z] = [0, 1, 2].map((axis) => pose[3 * j + axis] - middle[axis]);
      const across = x * Math.cos(yaw) + z * Math.sin(yaw), away = z * Math.cos(yaw) - x * Math.sin(yaw);
      return [across, y * Math.cos(pitch) - away * Math.sin(pitch), away * Math.cos(pitch) + y * Math.sin(pitch)];
    });
    const depth = ([a, b]) => (joints[a][2] + joints[b][2]) / 2;
    const order = bones.map((_, i) => i).sort((i, j) => depth(bones[j]) - depth(bones[i]));
    const nearest = depth(bones[order[order.length - 1]]), spread = depth(bones[order[0]]) - nearest || 1;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, size, size);
    context.lineCap = "round";
    for (const i of order) {
      const width = thickness * (4 + 5 * (1 - (depth(bones[i]) - nearest) / spread));
      for (const [stroke, thick] of [["#fff", 1.6 * width], [colours[i], width]]) {
        context.beginPath();
        for (const joint of bones[i]) context.lineTo(size / 2 + unit * joints[joint][0], size / 2 + unit * joints[joint][1]);
        Object.assign(context, { strokeStyle: stroke, lineWidth: thick }).stroke();
      }
    }
  };

  const build = (root) => {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const decoder = new Decoder(data), still = matchMedia("(prefers-reduced-motion: reduce)");
    const coordinates = data.parts.flatMap((part) => part.samples[0]);
    const view = [0, 0], outputs = {};
    let frame = 0;

    const draw = () => {
      frame = 0;
      const start = performance.now();
      if (outputs.image) drawImage(outputs.image, decoder.image(coordinates), data.image.size);
      if (outputs.pose) drawSkeleton(outputs.pose, decoder.pose(coordinates), data, view);
      root.dataset.milliseconds = (performance.now() - start).toFixed(1);
    };
    const redraw = () => (frame ||= requestAnimationFrame(draw));

    const stage = element("div", { className: "stage" });
    for (const [name, label] of [["image", "the image that the decoder draws"], ["pose", "the 3D pose: drag or use the arrow keys to turn it"]]) {
      if (!data[name]) continue;
      const canvas = (outputs[name] = element("canvas"));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
      stage.append(element("figure", {}, canvas, element("figcaption", { textContent: name === "image" ? "image" : "3D pose (drag to turn)" })));
    }
    if (outputs.pose) turnable(outputs.pose, view, redraw);

    let from = 0;
    const controls = data.parts.map((part) => {
      const first = from;
      from += part.directions;
      return chooser(part, first, { data, decoder, coordinates, redraw, still });
    });
    const inOrder = data.parts.map(({ order }, i) => [order, controls[i]]).sort(([a], [b]) => a - b);
    root.append(stage, element("div", { className: "controls" }, ...inOrder.map(([, control]) => control)));
    root.classList.add("live");
    Object.assign(root, { decoder, coordinates, draw });
    redraw();
  };

  // A part of the latent: samples to choose from, and sliders along its first principal directions.
  const chooser = (part, first, { data, decoder, coordinates, redraw, still }) => {
    const last = first + part.directions, sliders = [], buttons = [];
    let glide = 0; // counts what has moved this part; a glide ends when something else has
    const show = () => sliders.forEach((slider, i) => (slider.value = coordinates[first + i]));
    const mark = (chosen) => buttons.forEach((button) => button.setAttribute("aria-pressed", button === chosen));
    const go = (goal, button) => {
      mark(button);
      const start = coordinates.slice(first, last), begun = performance.now(), own = ++glide;
      const step = (now) => {
        if (own !== glide) return;
        const t = still.matches ? 1 : Math.min(1, Math.max(0, (now - begun) / GLIDE));
        for (let i = first; i < last; i++) coordinates[i] = (1 - t) * start[i - first] + t * goal[i - first];
        show();
        redraw();
        if (t < 1) requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    };

    const samples = element("div", { className: "samples" });
    part.samples.forEach((sample, number) => {
      const canvas = element("canvas"), button = element("button", { type: "button" }, canvas);
      button.onclick = () => go(sample, button);
      button.setAttribute("aria-label", `${part.label} of sample ${number + 1}`);
      buttons.push(button);
      samples.append(button);
      const there = coordinates.map((c, i) => (i >= first && i < last ? sample[i - first] : c));
      setTimeout(() => {
        if (data.image) drawImage(canvas, decoder.image(there), data.image.size);
        else drawSkeleton(canvas, decoder.pose(there), data, [0, 0], 2.5);
      });
    });

    const list = element("div", { className: "sliders" });
    for (let i = 0; i < Math.min(SHOWN, part.directions); i++) {
      const slider = element("input", { type: "range", min: -REACH, max: REACH, step: 0.05 });
      slider.oninput = () => {
        mark(null);
        glide++;
        coordinates[first + i] = Number(slider.value);
        redraw();
      };
      sliders.push(slider);
      list.append(element("label", {}, `direction ${i + 1}`, slider));
    }
    mark(buttons[0]);
    show();
    const share = `${part.directions} directions, ${(100 * part.kept).toFixed(1)} % of the variance`;
    return element("fieldset", {}, element("legend", { textContent: part.label }), samples, list, element("small", {}, share));
  };

  const turnable = (canvas, view, redraw) => {
    const turn = (yaw, pitch) => {
      view[0] += yaw;
      view[1] = Math.max(-1.5, Math.min(1.5, view[1] + pitch));
      redraw();
    };
    canvas.tabIndex = 0;
    canvas.classList.add("turnable");
    let at = null;
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      at = event;
    };
    canvas.onpointermove = (event) => {
      if (at) turn((event.clientX - at.clientX) / 80, (event.clientY - at.clientY) / 80);
      at &&= event;
    };
    canvas.onpointerup = canvas.onpointercancel = () => (at = null);
    canvas.onkeydown = (event) => {
      const by = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!by) return;
      event.preventDefault();
      turn(...by);
    };
  };

  document.querySelectorAll(".dvae-explorer:not(.live)").forEach(build);
})();
