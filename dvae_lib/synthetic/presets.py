"""Data sets of rendered hands, modelled on two published ones, and their validation and test sets (chapter 2).

`stb` corresponds to STB (Zhang et al., ICIP 2017): one person's left hand in front of six backgrounds, in twelve
sequences of 1500 frames: for each background, one with counting and one with random motion. `rhd` corresponds to the
training part of RHD (Zimmermann & Brox, ICCV 2017): sixteen people in 31 actions, with both hands and any viewpoint,
light and background.

The test sets share nothing with them that a model could have memorised: `stb_rooms` shows the same person in motion in
front of forty other backgrounds with their own lights, and `stb` with another `motion` the same six backgrounds with
new poses; `rhd_validation` and `rhd_test` show other people, actions and backgrounds. `poses` is five times as large as
`rhd`, for models that learn from poses without images: it is not rendered.

A preset is the complete table of factors for a seed; a sample is a row of it, whatever is rendered before it or with
it. The tables are cached, since every run opens its data several times.
"""

import dataclasses
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dvae_lib.synthetic.appearance import People, random_lights, random_people
from dvae_lib.synthetic.kinematics import COUNTING, GESTURES, LIMITS, FloatArray, make_way, random_angles, turn
from dvae_lib.synthetic.scenes import Scene, concatenate

STB_ROOMS, STB_FRAMES = 6, 1500
TEST_ROOMS = 40  # of `stb_rooms`
RHD_SAMPLES, RHD_PEOPLE, RHD_ACTIONS = 41258, range(16), range(31)  # of training
VALIDATION = 400  # samples for each of three seeds
POSE_SEEDS = 5
TEST_SEEDS, TEST_FRAMES = 40, 8  # seeds, each with four people in two separate actions; frames of each
_NEW_PEOPLE, _NEW_ACTIONS = range(16, 20), range(31, 39)
_PALM_TO_CAMERA = np.diag([-1.0, -1.0, 1.0])  # fingers up, palm to the camera
# Backgrounds are generated from their numbers: those of stb, then 320 for each part of RHD, then those of `stb_rooms`.
_VIEWS = 320
_FIRST_VIEW = {"training": STB_ROOMS, "validation": STB_ROOMS + _VIEWS, "test": STB_ROOMS + 2 * _VIEWS}
_FIRST_TEST_ROOM = STB_ROOMS + 3 * _VIEWS

Table = tuple[Scene, FloatArray, FloatArray, list[str]]  # of all samples: scene, sequence, frame; the sequences' names


@lru_cache(maxsize=2)
def stb(seed: int, motion: int | None = None) -> Table:
    """All 18 000 frames. The seed gives person, backgrounds' lights and motion; `motion` changes only the motion."""
    rng = np.random.default_rng([seed, 1])
    person, lights = random_people(rng, 1), random_lights(rng, STB_ROOMS, brightness=(0.75, 1.0))
    names = [f"B{b + 1}{kind}" for b in range(STB_ROOMS) for kind in ("Counting", "Random")]
    room = np.arange(len(names)) // 2
    return _recorded(names, [seed if motion is None else motion, 1], person, room, lights[room])


@lru_cache(maxsize=2)
def stb_rooms(seed: int, motion: int | None = None) -> Table:
    """The person of `stb` in front of forty backgrounds: one sequence of 1500 frames each, of alternating kinds."""
    person = random_people(np.random.default_rng([seed, 1]), 1)
    lights = random_lights(np.random.default_rng([seed, 5]), TEST_ROOMS, brightness=(0.75, 1.0))
    names = [f"R{r + 1}{('Counting', 'Random')[r % 2]}" for r in range(TEST_ROOMS)]
    room = _FIRST_TEST_ROOM + np.arange(TEST_ROOMS)
    return _recorded(names, [seed if motion is None else motion, 5], person, room, lights)


def _recorded(names: list[str], motion: list[int], person: People, room: FloatArray, light: FloatArray) -> Table:
    """A person in front of a camera like STB's. motion: its seed. room, light: for each sequence, the number of the
    background (S,) and the light (S, 12).
    """
    n = STB_FRAMES
    angles, viewpoint, position = [], [], []
    for s, name in enumerate(names):
        rng = np.random.default_rng([*motion, s])
        counting = name.endswith("Counting")
        angles.append(_counting(rng, n) if counting else _wandering(rng, n))
        # The real labels of B1Counting sway by 6 to 8 degrees; their autocorrelation falls to one half in 45 frames.
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
        content=room[sequence].astype(np.int32),
        light=light[sequence],
        K=np.tile(K, (total, 1, 1)),
        window=np.tile([0.0, 0.0, 640.0], (total, 1)),
        frame=(640, 480),
    )
    return _read_only(scene, sequence, np.tile(np.arange(n), len(names)), names)


def _read_only(scene: Scene, sequence: FloatArray, frame: FloatArray, names: list[str]) -> Table:
    for table in (*vars(scene).values(), sequence, frame):
        if isinstance(table, np.ndarray):
            table.flags.writeable = False
    return scene, sequence, frame, names


def _drift(rng: np.random.Generator, n: int, frames: float, channels: int = 3) -> FloatArray:
    """Smooth noise (n, channels) of unit variance that varies on a scale of some number of frames."""
    noise = gaussian_filter1d(rng.normal(size=(n, channels)), frames, axis=0, mode="reflect")
    return noise * np.sqrt(2 * np.sqrt(np.pi) * frames)


def _between(keys: FloatArray, times: FloatArray, n: int, hold: float) -> FloatArray:
    """Angles (n, 18) that stay at each key pose for the fraction `hold` of the time, and then move smoothly."""
    t = np.arange(n)
    k = np.searchsorted(times, t, side="right") - 1
    s = np.clip(((t - times[k]) / (times[k + 1] - times[k]) - hold) / (1 - hold), 0, 1)[:, None]
    return keys[k] + (s * s * (3 - 2 * s)) * (keys[k + 1] - keys[k])


def _key_times(rng: np.random.Generator, n: int, low: int, high: int) -> FloatArray:
    times = np.cumsum(rng.integers(low, high, 2 + n // low))
    return np.concatenate([[0], times[: np.searchsorted(times, n) + 1]])


def _counting(rng: np.random.Generator, n: int) -> FloatArray:
    """One, two, three, four, five, four, … with human variation: never exactly repeated, and with slight jitter."""
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
def rhd(seed: int) -> Table:
    """All 41 258 samples for training. A sequence is a person in an action: "person 3 action 17"."""
    pairs = [(person, action) for person in RHD_PEOPLE for action in RHD_ACTIONS]
    return _read_only(*_captured(seed, pairs, RHD_SAMPLES, "training"))


@lru_cache(maxsize=1)
def rhd_validation(seed: int) -> Table:
    """The other four people in the other eight actions, for three seeds with 400 samples each."""
    pairs = [(person, action) for person in _NEW_PEOPLE for action in _NEW_ACTIONS]
    return _together([_captured(seed + k, pairs, VALIDATION, "validation") for k in range(3)])


@lru_cache(maxsize=1)
def rhd_test(seed: int) -> Table:
    """160 people, four for each of forty seeds, each in two actions of their own, with eight samples per action."""
    pairs = [(p, _NEW_ACTIONS[2 * i + k]) for i, p in enumerate(_NEW_PEOPLE) for k in range(2)]
    seeds = seed + 101 + np.arange(TEST_SEEDS)
    return _together([_captured(int(s), pairs, TEST_FRAMES * len(pairs), "test") for s in seeds])


@lru_cache(maxsize=1)
def poses(seed: int) -> Table:
    """The samples of `rhd` for five seeds: 80 people, 206 290 poses."""
    pairs = [(person, action) for person in RHD_PEOPLE for action in RHD_ACTIONS]
    return _together([_captured(seed + k, pairs, RHD_SAMPLES, "training") for k in range(POSE_SEEDS)], RHD_PEOPLE)


def _together(parts: list[Table], own: range = _NEW_PEOPLE) -> Table:
    """Several tables as one, with consecutive numbers of people and sequences. own: the people of each."""
    scenes, sequences, frames, names = zip(*parts, strict=True)
    people = np.concatenate([scene.person + len(own) * k for k, scene in enumerate(scenes)])
    starts = np.cumsum([0, *map(len, names)])
    return _read_only(
        dataclasses.replace(concatenate(scenes), person=(people - own[0]).astype(np.int32)),
        np.concatenate([sequence + start for sequence, start in zip(sequences, starts, strict=False)]),
        np.concatenate(frames),
        [f"group {k} {name}" for k, own in enumerate(names) for name in own],
    )


def _captured(seed: int, pairs: list[tuple[int, int]], count: int, part: str) -> Table:
    """`count` samples, divided among pairs of a person and an action, in front of the backgrounds of a part."""
    people = random_people(np.random.default_rng([seed, 2]), 20)
    keys = random_angles(np.random.default_rng([seed, 3]), 39 * 4).reshape(39, 4, -1)
    length_of = np.full(len(pairs), count // len(pairs))
    length_of[: count % len(pairs)] += 1
    sequence = np.repeat(np.arange(len(pairs)), length_of)
    person, action = np.array(pairs)[sequence].T
    length = length_of[sequence]
    frame = np.concatenate([np.arange(n) for n in length_of])
    names = [f"person {person} action {action}" for person, action in pairs]
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
    content = _FIRST_VIEW[part] + rng.integers(_VIEWS, size=n)
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
    return scene, sequence, frame, names


def _any_viewpoint(rng: np.random.Generator, distance: FloatArray) -> FloatArray:
    """Rotations (n, 3, 3), uniform except for those that would put the elbow next to the camera."""
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


PRESETS = {
    "synth-stb": stb,
    "synth-stb-rooms": stb_rooms,
    "synth-rhd": rhd,
    "synth-rhd-validation": rhd_validation,
    "synth-rhd-test": rhd_test,
    "synth-poses": poses,
}
