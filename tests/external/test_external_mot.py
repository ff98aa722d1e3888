"""MOT text: read as it was meant, written so that it reads back, and errors name the place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.errors import CionError
from cion_core.external import mot


def put(path: Path, text: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def crops_and_rest(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    text = mot.read(path)
    assert not text.refused
    return text.crops, text.set_aside


@pytest.mark.parametrize(
    "text",
    [
        "\t0",
        "1\t1\t10\t10\t20\t40\t1\n\t0\n",
        ",,,,,,,,5\n1,1,10,10,20,40,1\n",
        ";0;\n1;1;10;10;20;40;1\n",
    ],
)
def test_a_line_whose_first_columns_are_empty_is_no_blank_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(CionError, match="all numbers: 1 lines"):
        mot.read(put(tmp_path / "a.txt", text))


def test_blank_lines_and_separators_alone_are_nothing(tmp_path: Path) -> None:
    text = "\n \n1,1,10,10,20,40,1\n,,,,\n1,2,10,10,20,40,1,\n\n"
    assert len(mot.read(put(tmp_path / "a.txt", text)).crops) == 2


def test_a_mot_file_by_hand(tmp_path: Path) -> None:
    text = (
        # the example of motchallenge.net
        "1, 3, 794.27, 247.59, 71.245, 174.88, -1, -1, -1, -1\r\n"
        "\r\n"
        "1, 6.0, -9, 11, 30, 40, 0.5\r\n"  # begins outside of the frame
        "2, 3, -30, 11, 20, 40, 0.5, -1, -1, -1\r\n"  # lies outside of it
        "2, 6, 1, 1, 0, 40, 0.5, -1, -1, -1\r\n"
        "3, 6, 1, 1, 10, 20, 0, 1, 1\r\n"  # the ground truth's "not to be considered"
        "3, 6, 1, 1, 10, 20, 1, 1, 0.9, 4, 5, 6\r\n"
    )
    crops, aside = crops_and_rest(put(tmp_path / "walk.mp4.txt", text))
    assert crops.crop.tolist() == [0, 1, 5]
    assert set(crops.video) == {"walk.mp4"}
    assert crops.frame.tolist() == [0, 0, 2]
    assert crops.tracklet.tolist() == [1, 2, 2]
    np.testing.assert_allclose(crops.x1, [793.27, 0, 0])
    np.testing.assert_allclose(crops.y1, [246.59, 10, 0])
    np.testing.assert_allclose(crops.x2, [864.515, 20, 10])
    np.testing.assert_allclose(crops.y2, [421.47, 50, 20])
    assert crops.confidence.tolist() == [-1, 0.5, 1]
    assert list(zip(aside.crop, aside.reason, strict=True)) == [
        (2, "box without area"), (3, "box without area"), (4, "confidence 0"),
    ]  # fmt: skip


def test_tracklets_of_several_files_are_never_one(tmp_path: Path) -> None:
    line = "1,7,1,1,10,20,1,-1,-1,-1\n"
    put(tmp_path / "b.txt", line)
    put(tmp_path / "a.txt", line + line.replace("1,7", "2,7", 1))
    put(tmp_path / "cam/a.txt", line)
    put(tmp_path / "nobody.txt")
    put(tmp_path / ".hidden.txt", "rubbish")
    crops, aside = crops_and_rest(tmp_path)
    assert crops.video.tolist() == ["a", "a", "b", "cam/a"]
    assert crops.tracklet.tolist() == [1, 1, 2, 3]
    assert crops.crop.tolist() == [0, 1, 2, 3] and aside.empty


def test_the_challenges_own_folders_are_read(tmp_path: Path) -> None:
    for name in ("train/S1", "train/S2"):
        put(tmp_path / name / "gt/gt.txt", "1,1,1,1,10,20,1,1,1\n")
        put(tmp_path / name / "det/det.txt", "1,-1,1,1,10,20,0.9,-1,-1,-1\n")
        put(tmp_path / name / "img1/000001.jpg")
    put(tmp_path / "seqmaps/all.txt", "name\nS1\n")
    assert mot.read(tmp_path).crops.video.tolist() == ["train/S1", "train/S2"]
    assert mot.read(tmp_path / "train/S1").crops.video.tolist() == ["S1"]
    assert mot.read(tmp_path / "train/S1/gt/gt.txt").crops.video.tolist() == ["S1"]
    with pytest.raises(
        CionError,
        match=r"det\.txt: no line of it is a crop: id below 0, a detection .*not tracked 1$",
    ):
        mot.read(tmp_path / "train/S1/det/det.txt")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 3 794.27 247.59 71.245 174.88\n", "frame, id, x, y, w, h, conf"),
        (
            "name S1 and other words\n",
            "separated by commas, semicolons, tabs or spaces, all numbers: 1 lines",
        ),
        ("frame,id,x,y,w,h,conf\n1,1,1,1,5,5,1\n", r"all numbers: 1 lines, first 1 \(frame, id"),
        ("1,1,1,1,5,5\n1,2,1,1,5,5,1\n", "all numbers: 1 lines, first 1 "),
        ("# by a tracker\n1,2,1,1,5,5,1\n", "all numbers: 1 lines, first 1 "),
        ("1,1,1,1,5,5,1\n1,2,1,1,5,5\n", "all numbers: 1 lines, first 2 "),
        ("1,1,1,1,5,5,1\n\n1,2,nan,1,5,5,1\n", "all numbers: 1 lines, first 3 "),
        ("1,1,1,1,5,inf,1\n", "all numbers: 1 lines, first 1 "),
        ("0,1,1,1,5,5,1\n", "whole numbers from 1: 1 lines, first 1 "),
        ("1.5,1,1,1,5,5,1\n", "whole numbers from 1: 1 lines, first 1 "),
        ("1,1.5,1,1,5,5,1\n", "ids are whole numbers: 1 lines"),
        ("1,1e300,1,1,5,5,1\n", "ids are whole numbers: 1 lines"),
        (
            "1,-1,1,1,5,5,1\n",
            "no line of it is a crop: id below 0, a detection that was not tracked 1$",
        ),
        (
            "1,1,1,1,5,5,1,3,1\n",
            "no line of it is a crop: class 3 1; name the classes of people with --class",
        ),
        ("1,4,1,1,5,5,1\n2,4,1,1,5,5,1\n2,4,9,9,5,5,1\n", "once: 2 lines, first 2 .*; 3 "),
        (b"\xff\xff,1,1,1,5,5,1\n", "not MOT text"),
    ],
)
def test_bad_mot_lines_are_named(tmp_path: Path, text: str | bytes, says: str) -> None:
    path = put(tmp_path / "v.txt", text)
    with pytest.raises(CionError, match=says) as error:
        mot.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["v.txt", "v.TXT"])
@pytest.mark.parametrize(
    "text",
    [
        "1,3,5.5,6,7,8,1\n2,3,5,6,7,8,0.5\n",
        "1 3 5.5 6 7 8 1\n2 3 5 6 7 8 0.5\n",
        "  1   3  5.5 6 7 8 1 -1 -1 -1\n 2  3 5 6 7 8   0.5 -1 -1 -1\n",
        "1\t3\t5.5\t6\t7\t8\t1\n2\t3\t5\t6\t7\t8\t0.5\n",
        "1;3;5,5;6;7;8;1\r\n2;3;5;6;7;8;0,5\r\n",
        "1;3;5.5;6;7;8;1\n2;3;5;6;7;8;0.5\n",
        "\ufeff1,3,5.5,6,7,8,1\n\n2,3,5,6,7,8,0.5\n",
    ],
)
def test_any_separator_of_the_numbers_will_do(tmp_path: Path, name: str, text: str) -> None:
    crops, aside = crops_and_rest(put(tmp_path / name, text))
    assert (
        crops.x1.tolist() == [4.5, 4]
        and crops.confidence.tolist() == [1, 0.5]
        and crops.frame.tolist() == [0, 1]
    )
    assert aside.empty and mot.read(tmp_path).crops.equals(crops)


GROUND_TRUTH = """1,1,10,10,20,40,1,1,0.9
1,2,50,10,20,40,1,3,1
1,3,90,10,20,40,0,1,1
1,4,10,60,20,40,1,7,1
1,-1,50,60,20,40,1,1,1
2,1,11,10,20,40,1,1,0.9
2,4,10,60,20,40,1,7,1
"""


def test_cars_become_no_identities(tmp_path: Path) -> None:
    path = put(tmp_path / "S/gt/gt.txt", GROUND_TRUTH)
    text = mot.read(path)
    assert text.crops.crop.tolist() == [0, 5] and set(text.crops.video) == {"S"}
    assert text.classes == {1: 4, 3: 1, 7: 2}
    assert dict(zip(text.set_aside.crop, text.set_aside.reason, strict=True)) == {
        1: "class 3",
        2: "confidence 0",
        3: "class 7",
        4: "id below 0, a detection that was not tracked",
        6: "class 7",
    }
    assert mot.read(path, classes=(1, 7)).crops.crop.tolist() == [0, 3, 5, 6]
    assert mot.read(path, classes=(3,)).crops.crop.tolist() == [1]


def test_visdrones_annotations_are_read_by_category(tmp_path: Path) -> None:
    """FRAME,ID,X,Y,W,H,SCORE,CATEGORY,TRUNCATION,OCCLUSION, with VisDrone's categories.

    1 pedestrian, 2 people, 4 car, 0 ignored regions.
    """
    lines = (
        "1,0,1,1,90,90,0,0,0,0\n"
        "1,1,10,10,9,20,1,1,0,1\n"
        "1,2,30,10,9,20,1,2,0,0\n"
        "1,3,60,10,40,20,1,4,1,2\n"
    )
    path = put(
        tmp_path / "uav0000013_00000_v.txt",
        lines + lines.replace("1,0,1,1", "1,0,2,2", 1).splitlines()[0],
    )
    assert mot.read(path).crops.crop.tolist() == [1]
    assert mot.read(path, classes=(1, 2)).crops.crop.tolist() == [1, 2]


@pytest.mark.parametrize("rest", ["", ",-1,-1,-1", ",0,0,0", ",12.7,3.1,0", ",-4.5,3,0"])
def test_a_column_that_tells_no_class_drops_nothing(tmp_path: Path, rest: str) -> None:
    """A tracker's results, a detector's only class, and MOT15's positions in the world."""
    path = put(tmp_path / "v.txt", f"1,1,1,1,10,20,1{rest}\n2,1,1,1,10,20,1{rest}\n")
    assert len(mot.read(path).crops) == 2


def test_other_text_in_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "1,7,1,1,10,20,1\n")
    put(tmp_path / "README.txt", "How these tracks were made\n")
    text = mot.read(tmp_path)
    assert text.crops.video.tolist() == ["a"] and list(text.refused) == [
        str(tmp_path / "README.txt")
    ]
    (tmp_path / "a.txt").unlink()
    put(tmp_path / "LICENSE.txt", "words\n")
    with pytest.raises(CionError, match="none of its 2 files is MOT text"):
        mot.read(tmp_path)


def test_a_folder_without_mot_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CionError, match=r"no MOT text in it; valid: SEQUENCE/gt/gt\.txt"):
        mot.read(tmp_path)
    with pytest.raises(CionError, match="no such file or folder"):
        mot.read(tmp_path / "none")


EIGHTHS = st.integers(0, 4000).map(lambda n: n / 8)
BOX = st.tuples(
    st.integers(0, 2), st.integers(0, 50), st.integers(0, 9), EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS
)


@settings(max_examples=30, deadline=None)
@given(st.lists(BOX, min_size=1, max_size=12, unique_by=lambda box: box[:3]), st.data())
def test_mot_reads_back(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("mot")
    crops = pd.DataFrame(
        [
            {
                "crop": i,
                "video": ("a.mp4", "cam/b", "c")[video],
                "frame": frame,
                "identity": identity,
                "x1": x,
                "y1": y,
                "x2": x + w + 1,
                "y2": y + h + 1,
                "confidence": (i + 1) / 16,
            }
            for i, (video, frame, identity, x, y, w, h) in enumerate(boxes)
        ]
    )
    kept = crops[data.draw(st.lists(st.booleans(), min_size=len(crops), max_size=len(crops)))]
    mot.write(folder, crops, kept[["crop", "identity"]])
    back, aside = crops_and_rest(folder)
    assert aside.empty
    assert {video for video, _ in mot.find_texts(folder)} == set(crops.video)
    columns = ["video", "frame", "x1", "y1", "x2", "y2", "confidence"]
    want = kept.sort_values(["video", "frame", "identity"])
    pd.testing.assert_frame_equal(
        back[columns], want[columns].reset_index(drop=True), check_dtype=False
    )
    # One tracklet per identity and video, no more.
    ours = want.groupby(["video", "identity"], sort=False).ngroup().to_numpy() + 1
    assert back.tracklet.tolist() == ours.tolist()


def test_written_mot_is_of_this_form(tmp_path: Path) -> None:
    crops = pd.DataFrame(
        {
            "crop": [5, 6, 7],
            "video": "v",
            "frame": [0, 0, 1],
            "x1": [0.0, 1.0, 2.00004],
            "y1": 10.0,
            "x2": 30.0,
            "y2": 50.5,
            "confidence": [0.25, 0.75, 1.0],
        }
    )
    same = pd.DataFrame({"crop": [5, 6, 7], "identity": [4, 4, 4]})
    assert mot.write(tmp_path, crops, same) == [tmp_path / "v.txt"]
    # Crops 5 and 6 are one detection twice: MOT has room for one, the more confident.
    want = ["1,4,2.0,11.0,29.0,40.5,0.75,-1,-1,-1", "2,4,3.0,11.0,28.0,40.5,1.0,-1,-1,-1"]
    assert (tmp_path / "v.txt").read_text().splitlines() == want


@pytest.mark.parametrize("video", ["/tmp/v", "../v", "a/../../v", ""])
def test_mot_is_written_nowhere_else(tmp_path: Path, video: str) -> None:
    crops = pd.DataFrame(
        {"crop": [0], "video": video, "frame": 0, "x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 1.0}
    )
    one = pd.DataFrame({"crop": [0], "identity": [0]})
    with pytest.raises(CionError, match="no column confidence"):
        mot.write(tmp_path / "out", crops, one)
    with pytest.raises(CionError, match="cannot name a file below"):
        mot.write(tmp_path / "out", crops.assign(confidence=1.0), one)
