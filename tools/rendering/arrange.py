"""Carries out a specification: whose body in what motion, where the camera stands, what is around and in the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.body_stages import BodyModel
from ...models.errors import HmcapError
from ...models.markers import proxy_rig
from ...models.proxies import PROXY_NAMES
from ...models.skeleton import LEFT_HAND, RIGHT_HAND
from ..motions.hand_motion import KeyPoses, hand_motion
from ..motions.mocap import Clip, ClipEntry, on_shape, read_clip, smoothed
from ..motions.stitch import curved, mirrored, part_of, take_of, turned
from ..motions.virtual_cameras import VirtualCamera, sample_camera
from .appearance import Appearance, sample_appearance, skin_of
from .clips import MAX_BETA, ClipSpec
from .film import Film, sample_film
from .light import sample_light
from .meshes import Mesh, box
from .scene import Occluder, Scene
from .surroundings import Surroundings, chair, plant, pole, sample_surroundings, table

_MOTION, _HANDS, _SHAPE, _CAMERA, _LOOK, _ROOM, _LIGHT, _THINGS, _FILM = range(9)
"""Every aspect draws from a stream of its own, so that a change in one leaves the others as they are."""
MAX_BLUR_PX = 0.9
"""Blur of the lens at most, in pixels of a picture 1000 wide."""
_CAMERA_DRAWS = 400
_ROOM_DRAWS = 60
_WALL_M = 2.0
"""One-sided things higher than this are the walls of a room."""
_FINGERS_STILL_RAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """Everything that decides a clip's frames."""

    spec: ClipSpec
    body: BodyModel
    betas: np.ndarray
    """(10,)"""
    motion: Clip
    """At the clip's frame rate, for this shape: pelvis = rest pelvis of the shape + trans."""
    camera: VirtualCamera
    scene: Scene
    film: Film
    shutter: float
    """Exposure, share of the time from frame to frame; a frame's truth is that of the middle of its exposure."""
    hands: str
    """Where the finger motion comes from."""
    film_seed: int
    """Of the sensor's noise."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.motion.frames


def stream(spec: ClipSpec, aspect: int) -> np.random.Generator:
    """The random numbers of one aspect of a clip."""
    return np.random.default_rng([spec.seed, aspect])


def arrange(
    spec: ClipSpec,
    entries: Sequence[ClipEntry],
    key_poses: KeyPoses,
    body: BodyModel,
    backgrounds: Sequence[Path] = (),
) -> Arranged:
    """The scene, motion and camera of a specification. Raises HmcapError where a motion that it names is missing, or
    where no camera can film it as asked."""
    betas = np.clip(stream(spec, _SHAPE).standard_normal(body.num_betas), -MAX_BETA, MAX_BETA)
    motion, hands = _fingers(spec, _motion(spec, entries, body), key_poses)
    motion = _centred(on_shape(motion, body, betas), body, betas)
    shaped = body.astype(np.float64).with_shape(betas)
    posed = shaped.with_pose(motion.poses, motion.trans_m)
    crown = posed.joints_m[:, 15:16] + [0.0, 0.17, 0.0]
    points = np.concatenate([proxy_rig(body).in_world_m(posed), crown], axis=1)
    camera = _camera(spec, points, motion)
    surroundings = _surroundings(spec, points, camera, backgrounds)
    scene = Scene(
        body,
        _appearance(spec),
        surroundings,
        sample_light(stream(spec, _LIGHT), surroundings.indoors),
        _occluders(spec, points, camera) if spec.occluder else (),
    )  # fmt: skip
    rng = stream(spec, _FILM)
    shutter = float(rng.uniform(*spec.shutter))
    return Arranged(
        spec, body, betas, motion, camera, scene, _film(spec, rng), shutter, hands, int(rng.integers(2**31))
    )


def _film(spec: ClipSpec, rng: np.random.Generator) -> Film:
    film = sample_film(rng)
    # The video is compressed once, by its own encoder; a JPEG pass before it takes the fingers away, and so does a
    # lens that is a pixel and more out of focus.
    film = replace(film, jpeg=0, blur_px=min(film.blur_px, MAX_BLUR_PX))
    if not spec.dim:
        return film
    # A camera that cannot open any wider: under-exposed, and the amplifier's noise shows.
    grain = float(rng.uniform(0.025, 0.05))
    return replace(film, exposure_ev=float(rng.uniform(-2.6, -1.7)), shot=grain, read=0.4 * grain)


def _motion(spec: ClipSpec, entries: Sequence[ClipEntry], body: BodyModel) -> Clip:
    known = {f"{e.source}/{e.name}": e for e in entries}
    missing = [m for m in spec.motions if m not in known]
    if missing:
        raise HmcapError(
            f"Expected the motion {missing[0]} for the clip {spec.name}, but the motion folder has none of that source "
            "and name. Give the folder that the set is made from (its INDEX.tsv lists them), or leave the clip out "
            "with --clips."
        )
    rng = stream(spec, _MOTION)
    clips = [smoothed(read_clip(known[m], spec.fps, body)) for m in spec.motions]
    count = round(spec.seconds * spec.fps)
    if spec.begin_s is None:
        usable = [c for c in clips if c.frames > round(0.8 * spec.fps)] or clips
        first = usable[0]
        if first.frames > count:
            begin = int(rng.integers(first.frames - count))
            take = part_of(first, begin, begin + count)
        else:
            take = take_of(usable, spec.seconds, body=body)
        take = mirrored(take) if rng.random() < 0.5 else take
    else:
        begin = round(spec.begin_s * spec.fps)
        take = part_of(take_of(clips, spec.begin_s + spec.seconds, body=body), begin, begin + count)
    if spec.curve_deg_s:
        take = curved(take, np.radians(spec.curve_deg_s), body)
    return turned(take, float(rng.uniform(-np.pi, np.pi)), body=body)


def _fingers(spec: ClipSpec, motion: Clip, key_poses: KeyPoses) -> tuple[Clip, str]:
    """Fingers from key poses where the recording has none."""
    recorded = np.abs(motion.poses[:, LEFT_HAND.start : RIGHT_HAND.stop]).max() > _FINGERS_STILL_RAD
    made = hand_motion(stream(spec, _HANDS), motion.frames, motion.fps, key_poses)
    if recorded:
        return motion, "recorded"
    poses = motion.poses.copy()
    poses[:, LEFT_HAND], poses[:, RIGHT_HAND] = made[:, 0], made[:, 1]
    return replace(motion, poses=poses), key_poses.source


def _centred(motion: Clip, body: BodyModel, betas: np.ndarray) -> Clip:
    """The motion with the middle of its path over the origin, where the surroundings leave room."""
    pelvis = motion.trans_m + np.asarray(body.rest_joints(betas)[0], np.float64)
    middle = (pelvis.min(0) + pelvis.max(0)) / 2
    return replace(motion, trans_m=motion.trans_m - middle * [1.0, 0.0, 1.0])


def _camera(spec: ClipSpec, points_m: np.ndarray, motion: Clip) -> VirtualCamera:
    draw = partial(
        sample_camera, stream(spec, _CAMERA), points_m, spec.fps,
        framing=spec.framing, image_size_px=spec.size_px, distortion=spec.distortion,
    )  # fmt: skip
    for _ in range(_CAMERA_DRAWS):
        try:
            found = draw(kind=spec.camera)
        except HmcapError:
            if spec.strict:
                continue
            found = draw()  # of whatever kind can see this motion
        if _suits(spec, found, points_m, motion):
            return found
    raise HmcapError(
        f"Expected a camera for the clip {spec.name} within its ranges of field of view, height and size, found none "
        f"in {_CAMERA_DRAWS} draws. Widen the ranges of the specification."
    )


def _suits(spec: ClipSpec, found: VirtualCamera, points_m: np.ndarray, motion: Clip) -> bool:
    R, t = found.T_cam_world[:, :3, :3], found.T_cam_world[:, :3, 3]
    height = float(-(np.swapaxes(R, 1, 2) @ t[..., None])[:, 1, 0].mean())
    y = found.project(points_m)[..., 1]
    share = float(np.nanmedian(y.max(1) - y.min(1))) / spec.size_px[1]
    pelvis = points_m[:, PROXY_NAMES.index("mid_hip")]
    facing = float(np.median(np.abs(body_yaw_deg(motion.poses, pelvis, found.T_cam_world))))
    return (
        spec.facing_deg[0] <= facing <= spec.facing_deg[1]
        and spec.fov_deg[0] <= found.camera.fov_deg <= spec.fov_deg[1]
        and spec.height_m[0] <= height <= spec.height_m[1]
        and spec.body_share[0] <= share <= spec.body_share[1]
    )


def body_yaw_deg(poses: np.ndarray, pelvis_m: np.ndarray, T_cam_world: np.ndarray) -> np.ndarray:
    """(T,) heading relative to the camera, for poses (T, 55, 3), a point of the pelvis (T, 3) and cameras (T, 4, 4)."""
    ahead = Rotation.from_rotvec(poses[:, 0]).apply([0.0, 0.0, 1.0])
    eye = -np.einsum("tji,tj->ti", T_cam_world[:, :3, :3], T_cam_world[:, :3, 3])
    to_camera = eye - pelvis_m
    angle = np.arctan2(ahead[:, 0], ahead[:, 2]) - np.arctan2(to_camera[:, 0], to_camera[:, 2])
    return np.degrees(np.arctan2(np.sin(angle), np.cos(angle)))


def _appearance(spec: ClipSpec) -> Appearance:
    rng = stream(spec, _LOOK)
    if spec.skin_tone is None:
        return sample_appearance(rng)
    # The look is drawn whole, because hair and lips go with the skin: the nearest of many draws.
    wanted = skin_of(spec.skin_tone)
    drawn = [sample_appearance(rng) for _ in range(40)]
    return min(drawn, key=lambda a: float(np.abs(np.log(np.array(a.skin) / wanted)).sum()))


def _surroundings(
    spec: ClipSpec, points_m: np.ndarray, camera: VirtualCamera, backgrounds: Sequence[Path]
) -> Surroundings:
    rng = stream(spec, _ROOM)
    roam = float(np.hypot(points_m[..., 0], points_m[..., 2]).max())
    place = np.einsum("tji,tj->ti", camera.T_cam_world[:, :3, :3], -camera.T_cam_world[:, :3, 3])
    reach = float(np.hypot(place[:, 0], place[:, 2]).max()) + 0.5
    photo = backgrounds[int(rng.integers(len(backgrounds)))] if len(backgrounds) and rng.random() < 0.5 else None
    kind = None if spec.indoors is None else ("room" if spec.indoors else "outdoors")
    if photo is not None:
        kind = "photo"
    for _ in range(_ROOM_DRAWS):
        made = sample_surroundings(rng, kind, photo, free_m=roam + 0.25, reach_m=max(reach, roam + 1.0))
        if _inside_walls(made, place):
            return replace(made, things=tuple(t for t in made.things if not _hides(t, points_m, camera)))
    raise HmcapError(
        f"Expected a room for the clip {spec.name} that holds its camera, found none in {_ROOM_DRAWS} draws. "
        "Let the specification film it outdoors, or from nearer."
    )


def _inside_walls(made: Surroundings, place_m: np.ndarray) -> bool:
    """Whether the camera (T, 3) stays in the room: from outside, walls are looked through and the void shows."""
    walls = [t.vertices_m for t in made.things if t.one_sided and np.ptp(t.vertices_m[:, 1]) > _WALL_M]
    if not made.indoors or not walls:
        return True
    corners = np.concatenate(walls)[:, [0, 2]]
    eye = place_m[:, [0, 2]]
    return bool((eye > corners.min(0) + 0.05).all() and (eye < corners.max(0) - 0.05).all())


def _hides(thing: Mesh, points_m: np.ndarray, camera: VirtualCamera) -> bool:
    """Whether a thing that stands about comes before the person: what hides somebody is chosen, not left to chance."""
    if not thing.casts_shadow:
        return False
    corners = np.stack([thing.vertices_m.min(0), thing.vertices_m.max(0)]).astype(np.float64)
    box_m = np.stack(np.meshgrid(*corners.T, indexing="ij"), -1).reshape(1, 8, 3)
    for t in range(0, len(points_m), 5):
        R, shift = camera.T_cam_world[t, :3, :3], camera.T_cam_world[t, :3, 3]
        thing_cam, person_cam = box_m[0] @ R.T + shift, points_m[t] @ R.T + shift
        if thing_cam[:, 2].min() > person_cam[:, 2].max() or thing_cam[:, 2].max() < 0.05:
            continue
        if thing_cam[:, 2].min() < 0.05:
            return True
        a, b = thing_cam[:, :2] / thing_cam[:, 2:], person_cam[:, :2] / person_cam[:, 2:]
        if (a.min(0) < b.max(0)).all() and (b.min(0) < a.max(0)).all():
            return True
    return False


def _occluders(spec: ClipSpec, points_m: np.ndarray, camera: VirtualCamera) -> tuple[Occluder, ...]:
    """One or two things between the camera and where the person is at some moment of the clip."""
    rng = stream(spec, _THINGS)
    out = []
    for _ in range(int(rng.integers(1, 3))):
        t = int(rng.integers(len(points_m)))
        R, shift = camera.T_cam_world[t, :3, :3], camera.T_cam_world[t, :3, 3]
        eye = -R.T @ shift
        person = points_m[t].mean(0)
        along = float(rng.uniform(0.45, 0.75))
        place = eye + (person - eye) * along
        aside = np.cross(person - eye, [0.0, 1.0, 0.0])
        aside = aside / max(float(np.linalg.norm(aside)), 1e-6)
        place = place + aside * rng.uniform(-0.3, 0.3)
        kind = int(rng.integers(5))
        mesh = (
            table(rng) if kind == 0 else chair(rng) if kind == 1 else plant(rng) if kind == 2
            else pole(rng) if kind == 3 else _crate(rng)
        )  # fmt: skip
        out.append(Occluder(mesh, (float(place[0]), 0.0, float(place[2])), float(rng.uniform(-np.pi, np.pi))))
    return tuple(out)


def _crate(rng: np.random.Generator) -> Mesh:
    half, high = rng.uniform(0.15, 0.35, 2), float(rng.uniform(0.35, 0.9))
    shade = (rng.uniform(60, 200, 3) + rng.normal(0, 6, (64, 64, 1))).clip(0, 255).astype(np.uint8)
    return box((-half[0], 0.0, -half[1]), (half[0], high, half[1]), shade)
