"""The three policies on hand-made lesions, and their ugly cases."""

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.evaluate.lesions import Lesions, from_centres, from_labels, with_unrated
from microbleeds.evaluate.matching import Findings, Policy, match

AFFINE = np.diag([0.5, 0.5, 3.0, 1.0])


def painted(*boxes, confidence=None) -> Lesions:
    numbers = np.zeros((40, 40, 10), np.int32)
    for number, box in enumerate(boxes, start=1):
        numbers[box] = number
    return from_labels(numbers, AFFINE, None if confidence is None else np.array(confidence))


def along_x(*positions, confidence=None) -> Lesions:
    centres = [(x, 0.0, 0.0) for x in positions]
    return from_centres(np.array(centres), None if confidence is None else np.array(confidence))


def counts(predicted: Lesions, truth: Lesions, policy: Policy) -> tuple[int, int, int]:
    """Hits, false detections, missed."""
    findings = match("s", predicted, truth, policy)
    return (
        sum(f.is_lesion and f.detected for f in findings),
        sum(not f.is_lesion for f in findings),
        sum(not f.detected for f in findings),
    )


def test_golden_scan_of_five_hits_four_false_and_five_missed():
    truth = along_x(*range(0, 1000, 100))
    predicted = along_x(1, 102, 203, 304, 404.9, 50, 506, 1e4, -7)
    for policy in ("valdo", "one-to-one"):
        assert counts(predicted, truth, policy) == (5, 4, 5)


def test_one_detection_over_two_lesions_and_two_on_one():
    lesions = painted(np.s_[10:12, 10:12, 5], np.s_[16:18, 10:12, 5], np.s_[30:34, 30, 5])
    found = painted(np.s_[10:18, 10:12, 5], np.s_[30, 30, 5], np.s_[33, 30, 5], np.s_[2, 2, 2])
    assert counts(found, lesions, "overlap") == (3, 1, 0)
    assert counts(found, lesions, "valdo") == (2, 2, 1)
    assert counts(found, lesions, "one-to-one") == (2, 2, 1)


@pytest.mark.parametrize("policy", ["overlap", "valdo", "one-to-one"])
def test_true_microbleeds_too_small_to_be_rated_count_neither_way(policy):
    # 3 mm3, 0.75 mm3 (found) and 0.75 mm3 (missed); one detection far from all
    truth = painted(np.s_[10:14, 10, 5], np.s_[20, 10, 5], np.s_[30, 10, 5])
    assert truth.volumes_mm3 == pytest.approx([3.0, 0.75, 0.75])
    found = painted(np.s_[10:13, 10, 5], np.s_[20, 10, 5], np.s_[2, 30, 1])
    everything = match("s", found, truth, policy)
    assert sum(f.is_lesion for f in everything) == 3
    rated = match("s", found, truth, policy, smallest_mm3=2.5)
    assert [(f.is_lesion, f.detected) for f in rated] == [(True, True), (False, True)]
    unknown = from_centres(truth.xyz_mm)
    if policy != "overlap":
        assert len(match("s", found, unknown, policy, smallest_mm3=2.5)) == 4


@pytest.mark.parametrize("policy", ["valdo", "one-to-one"])
def test_too_small_ones_take_no_detection_from_those_that_count(policy):
    truth = from_centres(np.array([[0.0, 0, 0], [3, 0, 0]]), volumes_mm3=np.array([20.0, 1.0]))
    (found,) = match("s", along_x(1.6), truth, policy, smallest_mm3=2.5)  # the other is nearer
    assert found.is_lesion and found.detected and found.distance_mm == pytest.approx(1.6)


@pytest.mark.parametrize("policy", ["overlap", "valdo", "one-to-one"])
def test_no_detection_of_a_too_small_one_is_false(policy):
    truth = painted(np.s_[10:12, 10, 5])  # 1.5 mm3
    found = painted(np.s_[10, 10, 5], np.s_[11, 10, 5], np.s_[30, 10, 5])
    (far,) = match("s", found, truth, policy, smallest_mm3=2.5)
    assert not far.is_lesion and far.xyz_mm == (15.0, 5.0, 15.0)


@pytest.mark.parametrize("policy", ["valdo", "one-to-one"])
def test_what_cannot_be_seen_is_neither_missed_nor_falsely_found(policy):
    truth = with_unrated(
        from_centres(np.array([[0.0, 0, 0]])), np.array([[20.0, 0, 0], [40, 0, 0]])
    )
    hit, far = match("s", along_x(1, 21, 80), truth, policy)
    assert hit.is_lesion and hit.detected
    assert not far.is_lesion and far.xyz_mm[0] == 80


def test_overlap_keeps_the_highest_confidence_and_the_dice_of_the_union():
    lesions = painted(np.s_[30:34, 30, 5])
    found = painted(np.s_[30, 30, 5], np.s_[33:35, 30, 5], confidence=[0.9, 0.4])
    (finding,) = match("s", found, lesions, "overlap")
    assert finding.confidence == 0.9
    assert finding.dice == pytest.approx(2 * 2 / (4 + 3))
    assert finding.distance_mm == pytest.approx(0.75)  # centres 31.5 and 30 voxels of 0.5 mm


def test_valdo_gives_no_second_choice_where_the_assignment_does():
    truth, predicted = along_x(0, 4), along_x(1.0, 1.9)  # both claim the lesion at 0
    assert counts(predicted, truth, "valdo") == (1, 1, 1)
    assert counts(predicted, truth, "one-to-one") == (2, 0, 0)


def test_valdo_keeps_the_most_probable_claim_so_that_every_threshold_is_right():
    predicted = along_x(2, -1, 30, confidence=[0.9, 0.3, 0.5])
    truth = along_x(0, 31)
    whole = Findings(match("s", predicted, truth, "valdo"), ("s",))
    assert whole.table[0].confidence == 0.9 and whole.table[0].distance_mm == 2
    for threshold in (0.2, 0.4, 0.6, 0.95):
        kept = predicted.confidence >= threshold
        alone = from_centres(predicted.xyz_mm[kept], predicted.confidence[kept])
        anew = match("s", alone, truth, "valdo")
        assert sorted(f.confidence for f in anew) == sorted(
            f.confidence for f in whole.at(threshold).table
        )


def test_valdo_keeps_the_nearest_of_equally_probable_claims():
    found = match("s", along_x(2, -1, confidence=[0.9, 0.9]), along_x(0), "valdo")
    assert found[0].distance_mm == 1 and found[1].xyz_mm[0] == 2


def test_the_limit_itself():
    truth, predicted = along_x(0), along_x(5.0)
    assert counts(predicted, truth, "valdo") == (0, 1, 1)  # less than 5 mm
    assert counts(predicted, truth, "one-to-one") == (1, 0, 0)  # within 5 mm


def test_distances_are_in_mm_across_thick_slices():
    truth, predicted = painted(np.s_[5, 5, 2]), painted(np.s_[5, 5, 4])  # two slices, 6 mm
    assert counts(predicted, truth, "valdo") == (0, 1, 1)


def test_a_centre_inside_a_large_detection_is_a_hit_however_far_its_centre():
    large = painted(np.s_[0:30, 5, 5])  # 15 mm long
    truth = from_centres(np.array([[14.0, 2.5, 15.0]]))
    assert counts(large, truth, "one-to-one") == (1, 0, 0)
    assert counts(large, truth, "valdo") == (0, 1, 1)


def test_most_pairs_come_before_the_least_distance():
    truth, predicted = along_x(0, 4.5), along_x(4.4, 9.4)  # 4.4 to 4.5 alone would be nearer
    assert counts(predicted, truth, "one-to-one") == (2, 0, 0)


@pytest.mark.parametrize("policy", ["overlap", "valdo", "one-to-one"])
def test_nothing_found_nothing_there(policy):
    empty, one = painted(), painted(np.s_[5, 5, 5])
    assert counts(empty, one, policy) == (0, 0, 1)
    assert counts(one, empty, policy) == (0, 1, 0)
    assert match("s", empty, empty, policy) == ()


def test_overlap_without_voxels_or_on_another_grid():
    with pytest.raises(UserError, match="on one grid"):
        match("s", along_x(0), along_x(0), "overlap")
    other = from_labels(np.zeros((4, 4, 4), np.int32), AFFINE)
    with pytest.raises(UserError, match="on one grid"):
        match("s", painted(), other, "overlap")
    assert match("s", painted(np.s_[5, 5, 5]), other, "valdo")[0].dice is None


def test_numbers_with_gaps_and_an_oblique_affine():
    affine = np.array([[0, 2.0, 0, 1], [-2, 0, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]])
    numbers = np.zeros((6, 6, 6), np.int32)
    numbers[1, 2, 3], numbers[4, 4, 4:6] = 70, 5
    lesions = from_labels(numbers, affine)
    np.testing.assert_allclose(lesions.xyz_mm, [[9, -6, 16.5], [5, 0, 12]])
    assert lesions.labels is not None and lesions.labels.max() == 2 == len(lesions)
