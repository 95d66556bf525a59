"""Makes brightness.affectline: `python make_model.py`, where affectline[onnx] and onnx are installed."""

import subprocess
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

HERE = Path(__file__).parent
kernel, bias = np.array([[8.0, -8.0]], np.float32), np.array([-4.0, 4.0], np.float32)
graph = helper.make_graph(
    [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "kernel", "bias"], ["logits"]),
    ],
    "brightness",
    [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["faces", 1, 48, 48])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["faces", 2])],
    [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(bias, "bias")],
)
network = HERE / "brightness.onnx"
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), network)
wrapped = HERE / "affectline_centre_face" / "brightness.affectline"
subprocess.run(
    ["affectline", "wrap", network, "--classes", "happy,sad", "--scale", "255", "-o", wrapped], check=True
)
network.unlink()
