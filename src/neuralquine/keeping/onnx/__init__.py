"""Writing a quine as an ONNX graph: values with shapes, the functions that some runtimes lack, one rule a module."""
