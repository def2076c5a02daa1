// The Gaussian of a pose that the reader changes: encoder, reparameterisation and decoder of a plain VAE, in the page.
(() => {
  const DRAWS = 8, MAP = 320, FLOOR = 1e-4; // FLOOR: the minimum of σ, as in the encoder's head

  class VAE {
    constructor(data) {
      this.data = data;
      const weights = unpack(data.weights);
      for (const layer of [...data.encoder, ...data.decoder]) layer.values = weights(layer.weights);
    }

    // μ and σ of q(z | pose)
    encode(pose) {
      const [first, last] = this.data.encoder, out = dense(last, relu(dense(first, pose))), d = out.length / 2;
      return { mean: out.slice(0, d), sigma: out.slice(d).map((raw) => Math.max(raw, 0) + Math.log1p(Math.exp(-Math.abs(raw))) + FLOOR) };
    }

    // (21, 3) in bone scales
    decode(z) {
      const [first, last] = this.data.decoder;
      return dense(last, relu(dense(first, z)));
    }

    // The position of a code on the map
    onMap(z) {
      return this.data.plane.map((row) => row.reduce((sum, weight, i) => sum + weight * (z[i] - this.data.mean[i]), 0));
    }
  }

  // z = μ + σ ε
  const reparameterise = ({ mean, sigma }, noise) => mean.map((m, i) => m + sigma[i] * noise[i]);

  const divergence = ({ mean, sigma }) =>
    mean.map((m, i) => (m * m + sigma[i] * sigma[i] - 1) / 2 - Math.log(sigma[i]));

  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

  const build = (root) => {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const vae = new VAE(data), d = data.mean.length;
    const outputs = {}, stage = element("div", { className: "stage" });
    let pose = data.samples[0], noise = [], frame = 0;
    const shuffle = () => (noise = Array.from({ length: DRAWS }, () => Array.from({ length: d }, normal)));

    const draw = () => {
      frame = 0;
      const q = vae.encode(pose), codes = noise.map((epsilon) => reparameterise(q, epsilon)), middle = hand.middle ?? middleOf(pose);
      const handles = { pose, chosen: hand.chosen };
      drawSkeleton(outputs.pose, vae.decode(q.mean), data, hand.view, { middle, handles, faint: codes.map((z) => vae.decode(z)) });
      drawMap(outputs.map, vae, q, codes);
      drawSpread(outputs.spread, q);
      const kl = divergence(q), used = kl.filter((part) => part > 0.1).length;
      words.textContent = `D_KL(q ‖ N(0, I)) = ${kl.reduce((a, b) => a + b, 0).toFixed(1)} nats, in ${used} of ${d} dimensions`;
    };
    const redraw = () => (frame ||= requestAnimationFrame(draw));

    const show = (name, label, ...caption) => {
      const canvas = (outputs[name] = element("canvas", { width: MAP, height: MAP }));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
      stage.append(element("figure", {}, canvas, element("figcaption", {}, ...caption)));
    };
    show("pose", "The hand: drag a joint or use Shift and the arrow keys to move it; drag or use the arrow keys to rotate the hand");
    show("map", "The Gaussian of the hand among the codes of held-out poses", `q(z | y): the two directions of largest variance, ${(100 * data.kept).toFixed(0)} % of the total`);
    show("spread", "The standard deviations of all dimensions, the smallest first", "σ of each dimension; near 1: no information on the hand");
    const pull = (become) => {
      pose = become;
      redraw();
    };
    const hand = handled(outputs.pose, { pose: () => pose, pull, redraw });
    outputs.pose.nextElementSibling.append("drag a joint: ", hand.chooser);
    const watching = camera(data.palm, pull);
    if (watching) outputs.pose.parentElement.append(watching);

    const again = element("button", { type: "button", className: "again", textContent: "draw ε again" });
    again.onclick = () => {
      shuffle();
      redraw();
    };
    const samples = element("div", { className: "samples" });
    data.samples.forEach((sample, number) => {
      const canvas = element("canvas"), button = element("button", { type: "button" }, canvas);
      button.setAttribute("aria-label", `Held-out pose ${number + 1}`);
      button.onclick = () => {
        pose = sample;
        redraw();
      };
      samples.append(button);
      setTimeout(() => drawSkeleton(canvas, sample, data, [0, 0], { thickness: 2.5 }));
    });
    const words = element("output");
    root.append(stage, element("div", { className: "controls" }, element("fieldset", {}, element("legend", { textContent: "Pose" }), samples, again, words)));
    root.classList.add("live");
    Object.assign(root, { vae, reparameterise, divergence, pose: () => pose, draw });
    shuffle();
    redraw();
  };

  const INK = "#333", CODES = "#b3b3b3", GAUSSIAN = "#0072b2", DRAW = "#d55e00";

  const blank = (canvas) => {
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, MAP, MAP);
    return context;
  };

  // The codes of held-out poses, one and two standard deviations of q around its mean, and the samples.
  const drawMap = (canvas, vae, q, codes) => {
    const context = blank(canvas), { plane, codes: known } = vae.data;
    const reach = 1.15 * Math.max(...known.flat().map(Math.abs), 1), scale = MAP / 2 / reach;
    const at = ([x, y]) => [MAP / 2 + scale * x, MAP / 2 - scale * y];
    const dot = (point, radius, fillStyle) => {
      context.beginPath();
      context.arc(...at(point), radius, 0, 2 * Math.PI);
      context.fillStyle = fillStyle;
      context.fill();
    };
    known.forEach((point) => dot(point, 2, CODES));
    // The covariance on the map: plane · diag(σ²) · planeᵀ.
    const [a, b, c] = [[0, 0], [0, 1], [1, 1]].map(([i, j]) => q.sigma.reduce((sum, s, k) => sum + plane[i][k] * plane[j][k] * s * s, 0));
    const angle = Math.atan2(2 * b, a - c) / 2, half = Math.hypot((a - c) / 2, b);
    const axes = [(a + c) / 2 + half, (a + c) / 2 - half].map((v) => scale * Math.sqrt(Math.max(v, 0)));
    for (const times of [2, 1]) {
      context.beginPath();
      context.ellipse(...at(vae.onMap(q.mean)), times * axes[0], times * axes[1], -angle, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: GAUSSIAN, lineWidth: 2, fillStyle: "rgba(0, 114, 178, 0.12)" });
      context.fill();
      context.stroke();
    }
    codes.forEach((z) => dot(vae.onMap(z), 3.5, DRAW));
    dot(vae.onMap(q.mean), 4.5, GAUSSIAN);
  };

  // A bar for each dimension, the smallest σ first, and a line at 1.
  const drawSpread = (canvas, { sigma }) => {
    const context = blank(canvas), top = 1.25, low = MAP - 24, wide = MAP / sigma.length;
    const height = (s) => (Math.min(s, top) / top) * (low - 16);
    context.fillStyle = GAUSSIAN;
    [...sigma].sort((s, t) => s - t).forEach((s, i) => context.fillRect(i * wide + 0.5, low - height(s), wide - 1, height(s)));
    Object.assign(context, { strokeStyle: INK, lineWidth: 1, fillStyle: INK, font: "13px sans-serif" });
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(0, low - height(1));
    context.lineTo(MAP, low - height(1));
    context.stroke();
    context.setLineDash([]);
    context.fillText("σ = 1", 6, low - height(1) - 5);
    context.fillText(`${sigma.length} dimensions`, 6, MAP - 7);
  };

  document.querySelectorAll('.dvae-explorer[data-kind="gaussian"]:not(.live)').forEach(build);
})();
