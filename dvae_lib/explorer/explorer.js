// Runs a dVAE's decoders in the page, and lets the reader move through its latent. The Python code exports the weights;
// nothing is fetched.
(() => {
  const STRIDE = 2, KERNEL = 5, PADDING = 2; // of every transposed convolution (supplement, Table 1)
  const SHOWN = 4; // sliders per part
  const REACH = 2.5; // range of a slider to either side, in standard deviations
  const GLIDE = 450; // milliseconds of the transition from one sample to another

  // origin + coordinates · rows
  const affine = (weights, row, coordinates) => {
    const out = weights.slice(0, row);
    coordinates.forEach((c, k) => {
      if (c === 0) return;
      for (let i = 0, from = (k + 1) * row; i < row; i++) out[i] += c * weights[from + i];
    });
    return out;
  };

  // A transposed convolution of S × S pixels, channels last. The contribution of a pixel to a row of the output is
  // contiguous there and in the weights. After a ReLU, about half the inputs are zero and are skipped.
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

  class Decoder {
    constructor(data) {
      this.data = data;
      const weights = unpack(data.weights);
      for (const part of [data.image, data.pose]) if (part) part.values = weights(part.start);
      if (data.image) for (const layer of data.image.layers) layer.values = weights(layer.weights);
      for (const layer of [data.pose?.last, data.encoder?.first, data.encoder?.last]) {
        if (layer) layer.values = weights(layer.weights);
      }
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
      return dense(last, relu(affine(values, start.row, coordinates)));
    }

    // The coordinates, in the pose's part, to which a pose (21, 3) is encoded
    encode(pose) {
      return dense(this.data.encoder.last, relu(dense(this.data.encoder.first, pose)));
    }
  }

  const drawImage = (canvas, values, size) => {
    canvas.width = canvas.height = size;
    const pixels = new ImageData(size, size);
    for (let i = 0; i < size * size; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(127.5 * (values[3 * i + c] + 1));
      pixels.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  };

  const build = (root) => {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const decoder = new Decoder(data), still = matchMedia("(prefers-reduced-motion: reduce)");
    const coordinates = data.parts.flatMap((part) => part.samples[0]);
    const outputs = {};
    let frame = 0, hand = null, mine = null; // the skeleton's state, and the pose as the reader changed it

    const draw = () => {
      frame = 0;
      const start = performance.now();
      if (outputs.image) drawImage(outputs.image, decoder.image(coordinates), data.image.size);
      if (outputs.pose) {
        const pose = decoder.pose(coordinates), held = mine ?? pose, middle = hand.middle ?? middleOf(held);
        const handles = data.encoder && { pose: held, chosen: hand.chosen };
        drawSkeleton(outputs.pose, pose, data, hand.view, { middle, handles });
      }
      root.dataset.milliseconds = (performance.now() - start).toFixed(1);
    };
    const redraw = () => (frame ||= requestAnimationFrame(draw));

    const stage = element("div", { className: "stage" });
    const show = (name, label, caption) => {
      const canvas = (outputs[name] = element("canvas"));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
      stage.append(element("figure", {}, canvas, element("figcaption", {}, ...caption)));
    };
    if (data.image) show("image", "the decoded image", ["image"]);
    if (data.pose) {
      const pull = (pose) => {
        mine = pose;
        const { from } = data.encoder;
        decoder.encode(pose).forEach((c, i) => (coordinates[from + i] = c));
        root.dispatchEvent(new Event("encoded"));
        redraw();
      };
      const turning = "the 3D pose: drag or use the arrow keys to rotate it";
      show("pose", turning + (data.encoder ? ", drag a joint or use Shift and the arrow keys to move it" : ""), []);
      hand = handled(outputs.pose, {
        pose: () => mine ?? decoder.pose(coordinates),
        pull: data.encoder && pull,
        redraw,
      });
      const caption = data.encoder ? ["drag a joint: ", hand.chooser] : ["3D pose (drag to rotate)"];
      outputs.pose.nextElementSibling.append(...caption);
      const watching = data.encoder && camera(data.palm, pull);
      if (watching) outputs.pose.parentElement.append(watching);
    }

    let from = 0;
    const controls = data.parts.map((part) => {
      const first = from;
      from += part.directions;
      return chooser(part, first, { root, data, decoder, coordinates, redraw, still, forget: () => (mine = null) });
    });
    const inOrder = data.parts.map(({ order }, i) => [order, controls[i]]).sort(([a], [b]) => a - b);
    root.append(stage, element("div", { className: "controls" }, ...inOrder.map(([, control]) => control)));
    root.classList.add("live");
    Object.assign(root, { decoder, coordinates, draw, pose: () => mine ?? decoder.pose(coordinates) });
    redraw();
  };

  // A part of the latent: samples to choose from, and sliders along its first principal directions.
  const chooser = (part, first, { root, data, decoder, coordinates, redraw, still, forget }) => {
    const last = first + part.directions, sliders = [], buttons = [];
    let glide = 0; // counts the changes of this part; a transition ends when another change begins
    const show = () => sliders.forEach((slider, i) => (slider.value = coordinates[first + i]));
    const mark = (chosen) => buttons.forEach((button) => button.setAttribute("aria-pressed", button === chosen));
    const own = data.encoder && data.encoder.from === first; // dragging the skeleton changes this part
    const go = (goal, button) => {
      mark(button);
      if (own) forget();
      const start = coordinates.slice(first, last), begun = performance.now(), turn = ++glide;
      const step = (now) => {
        if (turn !== glide) return;
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
        else drawSkeleton(canvas, decoder.pose(there), data, [0, 0], { thickness: 2.5 });
      });
    });

    const list = element("div", { className: "sliders" });
    for (let i = 0; i < Math.min(SHOWN, part.directions); i++) {
      const slider = element("input", { type: "range", min: -REACH, max: REACH, step: 0.05 });
      slider.oninput = () => {
        mark(null);
        glide++;
        if (own) forget();
        coordinates[first + i] = Number(slider.value);
        redraw();
      };
      sliders.push(slider);
      list.append(element("label", {}, `direction ${i + 1}`, slider));
    }
    mark(buttons[0]);
    show();
    if (own) {
      root.addEventListener("encoded", () => {
        glide++;
        mark(null);
        show();
      });
    }
    const share = `${part.directions} directions, ${(100 * part.kept).toFixed(1)} % of the variance`;
    return element("fieldset", {}, element("legend", { textContent: part.label }), samples, list, element("small", {}, share));
  };

  document.querySelectorAll('.dvae-explorer[data-kind="explorer"]:not(.live)').forEach(build);
})();
