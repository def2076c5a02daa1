// Sets the pose from the reader's camera: MediaPipe Hands runs in the page, from the book's own files. The camera's
// images do not leave the page.

const CAMERA = "_static/camera/"; // the folder of the files, if the book has them
const SMOOTH = 0.5; // weight of a new pose in the moving average

const cameraFolder = () => new URL(document.documentElement.dataset.content_root ?? "", document.baseURI) + CAMERA;

const loaded = new Map();
const load = (address) => {
  if (!loaded.has(address)) {
    loaded.set(
      address,
      new Promise((done, failed) => document.head.append(element("script", { src: address, crossOrigin: "anonymous", onload: done, onerror: failed }))),
    );
  }
  return loaded.get(address);
};

// Converts joints in metres, wrist first, to a pose: of a left hand, relative to joint 0 of the model's poses, and with
// a palm of their length.
const poseOf = (joints, right, { length, root }) => {
  const points = joints.map(({ x, y, z }) => [right ? -x : x, y, z]);
  if (root === "palm") points[0] = add(points[0], points[9]).map((value) => value / 2);
  const origin = points[0], unit = length / norm(add(points[9], origin, -1));
  return points.flatMap((point) => add(point, origin, -1).map((value) => unit * value));
};

// A button that starts and stops the camera, and its image. `pull(pose)` receives each pose. Null if the book has no
// camera files.
const camera = (palm, pull) => {
  if (!document.querySelector('meta[name="dvae-camera"]')) return null;
  const button = element("button", { type: "button", className: "camera", textContent: "use your camera" });
  const video = element("video", { muted: true, playsInline: true, hidden: true });
  const words = element("output");
  const box = element("div", { className: "watching" }, button, words, video);
  if (!location.protocol.startsWith("http") || !navigator.mediaDevices) {
    button.disabled = true;
    words.textContent = "The camera works only if the pages are served: run python -m http.server -d _build/html, then open http://localhost:8000.";
    return box;
  }
  let stream = null, hands = null, before = null;
  const say = (text) => (words.textContent = text);
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = before = null;
    video.hidden = true;
    button.textContent = "use your camera";
    say("");
  };
  const take = ({ multiHandWorldLandmarks: found, multiHandedness: sides }) => {
    if (!stream) return;
    if (!found?.length) return say("no hand is detected");
    // The label assumes a mirrored image, and this one is not mirrored.
    const pose = poseOf(found[0], sides[0].label === "Left", palm);
    before = before ? pose.map((value, i) => SMOOTH * value + (1 - SMOOTH) * before[i]) : pose;
    say(sides[0].label === "Left" ? "a right hand, shown as a left one" : "a left hand");
    pull(before);
  };
  const watch = async () => {
    while (stream) {
      await hands.send({ image: video });
      await new Promise(requestAnimationFrame);
    }
  };
  const start = async () => {
    button.disabled = true;
    try {
      say("loading …");
      await load(cameraFolder() + "hands.js");
      if (!hands) {
        hands = new Hands({ locateFile: (file) => cameraFolder() + file });
        hands.setOptions({ maxNumHands: 1, modelComplexity: 1, minDetectionConfidence: 0.5, minTrackingConfidence: 0.5 });
        hands.onResults(take);
      }
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
      video.srcObject = stream;
      video.hidden = false;
      await video.play();
      button.textContent = "stop the camera";
      say("show a hand");
      watch().catch((error) => {
        stop();
        say(`the camera stopped: ${error.message ?? error}`);
      });
    } catch (error) {
      stop();
      say(error.name === "NotAllowedError" ? "access to the camera was denied" : `the camera is not available: ${error.message ?? error.name ?? error.type}`);
    }
    button.disabled = false;
  };
  button.onclick = () => (stream ? stop() : start());
  return box;
};
