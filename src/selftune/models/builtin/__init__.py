"""The embedded model at run time: numpy and ONNX Runtime, no torch."""
