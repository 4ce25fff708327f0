"""A quine as a folder, a model card, a repository, an ONNX file."""
