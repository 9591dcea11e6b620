"""An exported network made cheaper to run; what it gives stays the same but for rounding."""

from __future__ import annotations

from typing import Any

import numpy as np


def join_by_adding(network: Any) -> None:
    """Skip connections are added in place instead of copied beside what comes from below.

    A convolution of two joined tensors is the sum of one of each; and what the cropping takes off a
    transposed convolution is not computed. It takes less time and much less memory.

    network: an `openvino.Model` of one size, a U-Net as `networks.py` exports it; changed in place.
    """
    from openvino import opset13 as op

    for join in network.get_ordered_ops():
        if join.get_type_name() != "Concat" or join.get_input_size() != 2:
            continue
        skip = join.input_value(0)
        below = _cropped(join.input_value(1), skip.get_shape())
        convolution = next(iter(join.output(0).get_target_inputs())).get_node()
        weights = convolution.input_value(1).get_node().get_data()
        attributes = convolution.get_attributes()
        sides = (attributes[name] for name in ("strides", "pads_begin", "pads_end", "dilations"))
        geometry = [list(side) for side in sides]
        terms = [
            op.convolution(tensor, op.constant(np.ascontiguousarray(part)), *geometry)
            for tensor, part in zip(
                (skip, below), np.split(weights, [skip.get_shape()[1]], axis=1), strict=True
            )
        ]
        total = op.add(*terms).output(0)
        for target in convolution.output(0).get_target_inputs():
            target.replace_source_output(total)
    network.validate_nodes_and_infer_types()


def _cropped(tensor: Any, wanted: Any) -> Any:
    """A transposed convolution, with its bias if any, that gives the size `wanted` without slices.

    tensor: what the slices make of it, (B, C, X, Y, Z); they take off its first voxels.
    """
    from openvino import opset13 as op

    while tensor.get_node().get_type_name() == "Slice":
        tensor = tensor.get_node().input_value(0)
    surplus = [given - size for given, size in zip(tensor.get_shape(), wanted, strict=True)]
    has_bias = tensor.get_node().get_type_name() == "Add"
    up = tensor.get_node().input_value(0).get_node() if has_bias else tensor.get_node()
    exact = op.convolution_backprop_data(
        *up.input_values(),
        strides=list(up.get_attributes()["strides"]),
        pads_begin=surplus[2:],
        pads_end=[0, 0, 0],
    ).output(0)
    return op.add(exact, tensor.get_node().input_value(1)).output(0) if has_bias else exact
