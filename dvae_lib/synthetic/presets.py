"""Two data sets of rendered hands, in the image of two real ones (chapter 2).

`stb` mirrors STB (Zhang et al., ICIP 2017): one person's left hand before six backgrounds, twelve sequences of 1500
frames, in front of each background one that counts and one that moves at random. `rhd` mirrors RHD (Zimmermann &
Brox, ICCV 2017): twenty people, 39 actions, both hands, any viewpoint, light and background; 16 people in 31 actions
are for training, the other four people in the other eight actions for evaluation.

A preset is the whole table of factors for a seed; a sample is a row of it, whatever is drawn before it or with it. The
tables are kept, since every run opens its data several times.
"""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dvae_lib.synthetic.appearance import random_lights, random_people
from dvae_lib.synthetic.kinematics import COUNTING, GESTURES, LIMITS, FloatArray, make_way, random_angles, turn
from dvae_lib.synthetic.scenes import Scene

STB_BACKGROUNDS, STB_FRAMES = 6, 1500
RHD_COUNTS = {"training": 41258, "evaluation": 2728}
_RHD_PEOPLE = {"training": range(16), "evaluation": range(16, 20)}
_RHD_ACTIONS = {"training": range(31), "evaluation": range(31, 39)}
_RHD_VIEWS = 320  # backgrounds of either part
_PALM_TO_CAMERA = np.diag([-1.0, -1.0, 1.0])  # fingers up, palm to the camera


@lru_cache(maxsize=2)
def stb(seed: int) -> tuple[Scene, FloatArray, FloatArray, list[str]]:
    """Scene of all 18 000 frames, then sequence and frame (18 000,) of each, and the names of the sequences."""
    names = [f"B{b + 1}{kind}" for b in range(STB_BACKGROUNDS) for kind in ("Counting", "Random")]
    rng = np.random.default_rng([seed, 1])
    person = random_people(rng, 1)
    lights = random_lights(rng, STB_BACKGROUNDS, brightness=(0.75, 1.0))
    n = STB_FRAMES
    angles, viewpoint, position = [], [], []
    for s, name in enumerate(names):
        rng = np.random.default_rng([seed, 1, s])
        counting = name.endswith("Counting")
        angles.append(_counting(rng, n) if counting else _wandering(rng, n))
        # The real labels of B1Counting sway by 6 to 8 degrees, and forget half of where they were within 45 frames.
        sway = (7, 7, 6) if counting else (9, 9, 9)
        yaw, pitch, roll = np.radians(rng.normal(0, 3, 3) + _drift(rng, n, 27) * sway).T
        viewpoint.append(turn(2, roll) @ turn(0, pitch) @ turn(1, yaw) @ _PALM_TO_CAMERA)
        position.append([60, 30, 650] + rng.normal(0, [18, 12, 15]) + _drift(rng, n, 36) * [9, 8, 14])
    total = n * len(names)
    sequence = np.repeat(np.arange(len(names)), n)
    K = np.array([[822.79, 0, 318.47], [0, 822.79, 250.31], [0, 0, 1]])
    scene = Scene(
        angles=np.concatenate(angles),
        viewpoint=np.concatenate(viewpoint),
        position=np.concatenate(position),
        right=np.zeros(total, dtype=bool),
        person=np.zeros(total, dtype=np.int32),
        proportions=np.repeat(person.proportions, total, axis=0),
        look=np.repeat(person.look, total, axis=0),
        sleeve=np.full(total, 45.0),
        content=(sequence // 2).astype(np.int32),
        light=lights[sequence // 2],
        K=np.tile(K, (total, 1, 1)),
        window=np.tile([0.0, 0.0, 640.0], (total, 1)),
        frame=(640, 480),
    )
    return _read_only(scene, sequence, np.tile(np.arange(n), len(names)), names)


def _read_only(
    scene: Scene, sequence: FloatArray, frame: FloatArray, names: list[str]
) -> tuple[Scene, FloatArray, FloatArray, list[str]]:
    for table in (*vars(scene).values(), sequence, frame):
        if isinstance(table, np.ndarray):
            table.flags.writeable = False
    return scene, sequence, frame, names


def _drift(rng: np.random.Generator, n: int, frames: float, channels: int = 3) -> FloatArray:
    """Smooth noise (n, channels) of unit variance that wanders within some number of frames."""
    noise = gaussian_filter1d(rng.normal(size=(n, channels)), frames, axis=0, mode="reflect")
    return noise * np.sqrt(2 * np.sqrt(np.pi) * frames)


def _between(keys: FloatArray, times: FloatArray, n: int, hold: float) -> FloatArray:
    """Angles (n, 18) that rest at each key pose for the fraction `hold` of the time, and move smoothly on."""
    t = np.arange(n)
    k = np.searchsorted(times, t, side="right") - 1
    s = np.clip(((t - times[k]) / (times[k + 1] - times[k]) - hold) / (1 - hold), 0, 1)[:, None]
    return keys[k] + (s * s * (3 - 2 * s)) * (keys[k + 1] - keys[k])


def _key_times(rng: np.random.Generator, n: int, low: int, high: int) -> FloatArray:
    times = np.cumsum(rng.integers(low, high, 2 + n // low))
    return np.concatenate([[0], times[: np.searchsorted(times, n) + 1]])


def _counting(rng: np.random.Generator, n: int) -> FloatArray:
    """One, two, three, four, five, four, … as people do it: never twice alike, and with a little unrest."""
    times = _key_times(rng, n, 30, 60)
    order = [*range(len(COUNTING)), *range(len(COUNTING) - 2, 0, -1)]
    keys = np.stack([GESTURES[COUNTING[order[k % len(order)]]] for k in range(len(times))])
    keys = keys + np.radians(3.5) * rng.normal(size=keys.shape)
    angles = _between(keys, times, n, hold=0.45) + np.radians(1.5) * _drift(rng, n, 12, keys.shape[1])
    return make_way(_clip(angles), smooth=8)


def _wandering(rng: np.random.Generator, n: int) -> FloatArray:
    times = _key_times(rng, n, 15, 36)
    keys = random_angles(rng, len(times), variety=0.4)  # the paper calls STB's poses “quite simple” (Sec. 5)
    angles = _between(keys, times, n, hold=0.15) + np.radians(1.5) * _drift(rng, n, 12, keys.shape[1])
    return make_way(_clip(angles), smooth=8)


def _clip(angles: FloatArray) -> FloatArray:
    return np.clip(angles, LIMITS[:, 0], LIMITS[:, 1])


@lru_cache(maxsize=2)
def rhd(seed: int) -> tuple[Scene, FloatArray, FloatArray, list[str]]:
    """Scene of all 43 986 samples, then sequence and frame of each, and the names of the sequences.

    A sequence is a person in an action: "training person 3 action 17".
    """
    people = random_people(np.random.default_rng([seed, 2]), 20)
    keys = random_angles(np.random.default_rng([seed, 3]), 39 * 4).reshape(39, 4, -1)
    names, rows = [], []
    for part, count in RHD_COUNTS.items():
        pairs = [(person, action) for person in _RHD_PEOPLE[part] for action in _RHD_ACTIONS[part]]
        lengths = np.full(len(pairs), count // len(pairs))
        lengths[: count % len(pairs)] += 1
        for (person, action), length in zip(pairs, lengths, strict=True):
            frame = np.arange(length)
            rows.append(
                np.stack([frame * 0 + len(names), frame, frame * 0 + person, frame * 0 + action, frame * 0 + length])
            )
            names.append(f"{part} person {person} action {action}")
    sequence, frame, person, action, length = np.concatenate(rows, axis=1)
    n = len(sequence)

    rng = np.random.default_rng([seed, 4])
    phase = 3 * frame / length
    k = phase.astype(int)
    s = (phase - k)[:, None]
    angles = keys[action, k] + s * s * (3 - 2 * s) * (keys[action, k + 1] - keys[action, k])
    angles = make_way(_clip(angles + np.radians(4) * rng.normal(size=angles.shape)))

    distance = np.exp(rng.uniform(np.log(330), np.log(750), n))
    f = rng.uniform(280, 315, n)
    uv = rng.uniform(0.28, 0.72, (n, 2)) * 320
    position = np.concatenate([(uv - 160) * (distance / f)[:, None], distance[:, None]], axis=1)
    K = np.zeros((n, 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = f
    K[:, :2, 2], K[:, 2, 2] = 160, 1
    training = np.arange(n) < RHD_COUNTS["training"]
    content = STB_BACKGROUNDS + rng.integers(_RHD_VIEWS, size=n) + _RHD_VIEWS * ~training
    scene = Scene(
        angles=angles,
        viewpoint=_any_viewpoint(rng, distance),
        position=position,
        right=rng.random(n) < 0.5,
        person=person.astype(np.int32),
        proportions=people.proportions[person],
        look=people.look[person],
        sleeve=people.sleeve[person],
        content=content.astype(np.int32),
        light=random_lights(rng, n),
        K=K,
        window=np.tile([0.0, 0.0, 320.0], (n, 1)),
        frame=(320, 320),
    )
    return _read_only(scene, sequence, frame, names)


def _any_viewpoint(rng: np.random.Generator, distance: FloatArray) -> FloatArray:
    """Rotations (n, 3, 3), uniform but for those that would put the elbow next to the camera."""
    q = rng.normal(size=(len(distance), 12, 4))
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    R = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
        ],
        axis=-2,
    )
    arm = 320.0  # mm from the palm's centre to the end of the forearm
    fits = distance[:, None] - arm * R[..., 2, 1] > 0.75 * distance[:, None]
    return R[np.arange(len(R)), fits.argmax(axis=1)]
