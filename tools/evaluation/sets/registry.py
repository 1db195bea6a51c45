"""Which sets there are, where each one lies by default, and how to load one."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ....models.errors import HmcapError, UsageError
from ..records import Case

_MAX_FPS = 10_000.0


class SetMissing(HmcapError):
    """The folder of a set is not there: the set can be skipped, nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class SetInfo:
    """One set: what it is, and what its folder holds."""

    name: str
    """As the command line takes it."""
    title: str
    needs: str
    """What the set is good for and what it asks of a method, in a few words."""
    obtain: str
    """Licence and where it comes from, in one line."""
    relative: str
    """Place of the set's folder under the data folder, unless the user names another."""
    layout: str
    """Files that the folder holds, as published."""
    module: str
    """Module of this package with ``load(folder: Path)``, imported when the set is loaded."""

    def load(self, folder: Path) -> Iterator[Case]:
        """The cases of the set in ``folder``, one after the other. Raises ``SetMissing`` where there is no such folder,
        ``HmcapError`` where it holds something else than the set."""
        if not folder.is_dir():
            raise SetMissing(
                f"Expected the set {self.name} ({self.title}) in {folder}, found no such folder. "
                f"It holds {self.layout}. {self.obtain}"
            )
        return self._cases(folder)

    def _cases(self, folder: Path) -> Iterator[Case]:
        names: set[str] = set()
        for case in import_module(f".{self.module}", __package__).load(folder):
            if case.name in names:
                raise HmcapError(
                    f"Expected one case of each name in the set {self.name} in {folder}, found {case.name} twice. "
                    "Remove the copy."
                )
            if not case.frames or not 0 <= case.fps < _MAX_FPS:
                raise HmcapError(
                    f"Expected frames at a rate from 0 (single pictures) to {_MAX_FPS:g} a second in the case "
                    f"{self.name}/{case.name} in {folder}, found {case.frames} frames at {case.fps:g}. "
                    "Take the files as they are published."
                )
            names.add(case.name)
            yield case
        if not names:
            raise HmcapError(
                f"Expected {self.layout} in {folder} (set {self.name}), found nothing to evaluate there. "
                "Name the folder that holds these."
            )


_NPZ = "truth.npz and the files it names"
_SETS = (
    SetInfo(
        "beam",
        "balancing on a beam, four calibrated cameras",
        "video; 3-D joints, feet and a calibrated world",
        "Footage of Pose2Sim (BSD-3-Clause) with triangulated truth.",
        "gt/balance_beam",
        _NPZ,
        "beam",
    ),
    SetInfo(
        "stills3d",
        "six single pictures of Human3.6M and MPI-INF-3DHP",
        "pictures; 3-D joints in the camera's axes",
        "Research licences of Human3.6M and MPI-INF-3DHP.",
        "gt/stills_3d",
        _NPZ,
        "stills3d",
    ),
    SetInfo(
        "wholebody2d",
        "three people of COCO-WholeBody",
        "pictures; key points of body, feet and hands",
        "COCO terms of use.",
        "gt/stills_wholebody_2d",
        _NPZ,
        "wholebody2d",
    ),
    SetInfo(
        "3dpw",
        "3D Poses in the Wild, test split",
        "image folders, moving camera; SMPL joints in the camera's axes",
        "Non-commercial research; after registration from https://virtualhumans.mpi-inf.mpg.de/3DPW.",
        "3dpw",
        "sequenceFiles/test/*.pkl and imageFiles/<sequence>/image_*.jpg",
        "pw3d",
    ),
    SetInfo(
        "h36m",
        "Human3.6M, subjects S9 and S11",
        "videos of four cameras; 3-D joints in the world",
        "Academic use; after registration from http://vision.imar.ro/human3.6m.",
        "h36m",
        "metadata.xml (or camera-parameters.json), S*/MyPoseFeatures/D3_Positions_mono/*.cdf, S*/Videos/*.mp4",
        "h36m",
    ),
    SetInfo(
        "3dhp",
        "MPI-INF-3DHP, test set (and the training sequences that are there)",
        "image folders and videos; 3-D joints in the camera's axes",
        "Non-commercial research; from https://vcai.mpi-inf.mpg.de/3dhp-dataset.",
        "3dhp",
        "TS*/annot_data.mat, S*/Seq*/annot.mat and camera.calibration, each with its imageSequence folder",
        "mpi3dhp",
    ),
    SetInfo(
        "coco-wholebody",
        "COCO-WholeBody, validation",
        "pictures; key points of body, feet and hands",
        "Annotations for research from https://github.com/jin-s13/COCO-WholeBody, pictures under COCO terms.",
        "coco_wholebody",
        "annotations/coco_wholebody_val_v1.0.json and val2017/*.jpg",
        "coco_wholebody",
    ),
    SetInfo(
        "emdb",
        "EMDB 2, long walks outdoors (Electromagnetic Database of Human Pose in the Wild)",
        "image folders, moving camera; SMPL joints in the world; a body file",
        "Non-commercial research; after registration from https://eth-ait.github.io/emdb.",
        "emdb",
        "P*/<sequence>/*_data.pkl and P*/<sequence>/images/*.jpg",
        "emdb",
    ),
    SetInfo(
        "rich",
        "RICH, bodies in contact with scanned scenes",
        "image folders; SMPL-X body in the world; a body file",
        "Non-commercial research; after registration from https://rich.is.tue.mpg.de.",
        "rich",
        "bodies/test, images/test, scan_calibration and multicam2world",
        "rich",
    ),
    SetInfo(
        "ehf",
        "EHF, 100 pictures with SMPL-X meshes",
        "pictures; mesh and joints in the camera's axes; a body file for the joints",
        "Non-commercial research; after registration from https://smpl-x.is.tue.mpg.de.",
        "ehf",
        "*_img.jpg or *_img.png, *_align.ply",
        "ehf",
    ),
    SetInfo(
        "agora",
        "AGORA, rendered scans",
        "pictures of several people; SMPL-X joints in the camera's axes",
        "Non-commercial research; after registration from https://agora.is.tue.mpg.de.",
        "agora",
        "*.npz with imgname, cam_int and joints3d_cam (or SMPL-X parameters), and the pictures they name",
        "agora",
    ),
    SetInfo(
        "moyo",
        "MOYO, yoga",
        "image folders; SMPL-X body in the world; a body file",
        "Non-commercial research; after registration from https://moyo.is.tue.mpg.de.",
        "moyo",
        "<session>/images/val, AMASS/YOGI_2_latest_smplx_neutral/val and cameras",
        "moyo",
    ),
    SetInfo(
        "rendered",
        "the project's own body, rendered",
        "videos; everything is known",
        "Made by this software; nothing to download but backgrounds and motion that you choose.",
        "rendered",
        "videos with their truth",
        "rendered",
    ),
    SetInfo(
        "proxy",
        "recorded motion through virtual cameras and the measured noise of the landmarks",
        "proxies instead of pictures; everything is known",
        "Made by this software from motion in AMASS layout.",
        "mocap",
        "motion files in AMASS layout",
        "proxy",
    ),
)

SETS: dict[str, SetInfo] = {info.name: info for info in _SETS}
"""All sets by their name on the command line, in the order of reports."""


def load_set(name: str, folder: Path) -> Iterator[Case]:
    """The cases of a set in ``folder``, which is the set's own folder, one after the other.

    Raises ``UsageError`` for a name that is no set, ``SetMissing`` where there is no such folder, and ``HmcapError``
    (then, or when a case is reached) where the folder holds something else, naming the file and what it should be.
    """
    if name not in SETS:
        raise UsageError(f"Expected the name of a set ({', '.join(SETS)}), found {name!r}. Choose one of these.")
    return SETS[name].load(Path(folder))
